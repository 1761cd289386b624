import log from "gateway:plugin/log@0.1.0";

const at = (level) => (message, fields = {}) =>
  log.emit(level, String(message), Object.entries(fields).map(([name, value]) => [name, String(value)]));

export const trace = at("trace");
export const debug = at("debug");
export const info = at("info");
export const warn = at("warn");
export const error = at("error");
