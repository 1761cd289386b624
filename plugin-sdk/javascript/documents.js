import documents from "gateway:plugin/documents@0.2.0";
import { boolean, integer, object, u32 } from "./arguments.js";
import { call } from "./errors.js";
import { decode, octets, plain } from "./text.js";

/** A document that was fetched. */
class Document {
  constructor({ version, bytes }) {
    this.version = Number(version);
    this.bytes = octets(bytes);
  }
  text() {
    return decode(this.bytes);
  }
  json() {
    return JSON.parse(this.text());
  }
}

function lowered({ upstream, target = "/", refreshMs = 600_000, retryMs = 30_000, maxStaleMs = 86_400_000, timeoutMs = 5000 }) {
  return {
    upstream: plain(upstream, "upstream"),
    pathWithQuery: plain(target, "target"),
    refreshMs: integer("refreshMs", refreshMs),
    retryMs: integer("retryMs", retryMs),
    maxStaleMs: integer("maxStaleMs", maxStaleMs),
    timeoutMs: u32("timeoutMs", timeoutMs),
  };
}

export function get(source, known = 0, { forceRefresh = false } = {}) {
  const given = [lowered(object("source", source)), integer("known", known), boolean("forceRefresh", forceRefresh)];
  const found = call(given[0].upstream, () => documents.get(...given));
  return found == null ? undefined : new Document(found);
}
