import metrics from "gateway:plugin/metrics@0.2.0";
import { plain } from "./text.js";

const pairs = (labels) => Object.entries(labels).map(([name, value]) => [plain(name), plain(value)]);

export const add = (counter, by = 1, labels = {}) => metrics.add(plain(counter), by, pairs(labels));
export const setGauge = (gauge, value, labels = {}) => metrics.setGauge(plain(gauge), value, pairs(labels));
export const addToGauge = (gauge, by, labels = {}) => metrics.addToGauge(plain(gauge), by, pairs(labels));
export const observe = (histogram, value, labels = {}) => metrics.observe(plain(histogram), value, pairs(labels));
