import metrics from "gateway:plugin/metrics@0.1.0";

const pairs = (labels) => Object.entries(labels).map(([name, value]) => [name, String(value)]);

export const add = (counter, by = 1, labels = {}) => metrics.add(counter, by, pairs(labels));
export const observe = (histogram, value, labels = {}) => metrics.observe(histogram, value, pairs(labels));
