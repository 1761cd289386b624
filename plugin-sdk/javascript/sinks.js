import sinks from "gateway:plugin/sinks@0.1.0";
import { call, encode } from "./text.js";

export const write = (sink, line) => call(sink, () => sinks.write(sink, encode(line)));
