import sinks from "gateway:plugin/sinks@0.2.0";
import { call } from "./errors.js";
import { encode, plain } from "./text.js";

export function write(sink, line) {
  const given = [plain(sink, "sink"), encode(line, "line")];
  call(given[0], () => sinks.write(...given));
}
