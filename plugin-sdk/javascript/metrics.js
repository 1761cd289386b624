import metrics from "gateway:plugin/metrics@0.2.0";
import { integer, number, object } from "./arguments.js";
import { plain } from "./text.js";

const pairs = (labels) =>
  Object.entries(object("labels", labels)).map(([name, value]) => [plain(name, "the name of a label"), plain(value, `the label ${name}`)]);

export const add = (counter, by = 1, labels = {}) => metrics.add(plain(counter, "counter"), integer("by", by), pairs(labels));
export const setGauge = (gauge, value, labels = {}) => metrics.setGauge(plain(gauge, "gauge"), number("value", value), pairs(labels));
export const addToGauge = (gauge, by, labels = {}) => metrics.addToGauge(plain(gauge, "gauge"), number("by", by), pairs(labels));
export const observe = (histogram, value, labels = {}) => metrics.observe(plain(histogram, "histogram"), number("value", value), pairs(labels));
