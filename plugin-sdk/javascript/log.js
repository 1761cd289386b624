import log from "gateway:plugin/log@0.2.0";
import { plain } from "./text.js";

const at = (level) => (message, fields = {}) =>
  log.emit(level, plain(message), Object.entries(fields).map(([name, value]) => [plain(name), plain(value)]));

export const trace = at("trace");
export const debug = at("debug");
export const info = at("info");
export const warn = at("warn");
export const error = at("error");

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

const line =
  (emit) =>
  (...values) =>
    emit(values.map(shown).join(" "));

// The engine has none, and it is where everybody looks first.
globalThis.console ??= { trace: line(trace), debug: line(debug), log: line(info), info: line(info), warn: line(warn), error: line(error) };
