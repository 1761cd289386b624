import log from "gateway:plugin/log@0.2.0";
import { shown } from "./errors.js";
import { plain } from "./text.js";

/** A log line must not fail because of what it shows. */
const text = (value) => plain(shown(value));

const at = (level) => (message, fields) =>
  log.emit(level, text(message), Object.entries(fields ?? {}).map(([name, value]) => [plain(name), text(value)]));

export const trace = at("trace");
export const debug = at("debug");
export const info = at("info");
export const warn = at("warn");
export const error = at("error");

const line =
  (emit) =>
  (...values) =>
    emit(values.map(shown).join(" "));

// The engine has none, and it is where everybody looks first.
globalThis.console ??= { trace: line(trace), debug: line(debug), log: line(info), info: line(info), warn: line(warn), error: line(error) };
