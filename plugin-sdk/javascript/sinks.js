import sinks from "gateway:plugin/sinks@0.2.0";
import { call, encode, plain } from "./text.js";

export const write = (sink, line) => call(sink, () => sinks.write(plain(sink), encode(line)));
