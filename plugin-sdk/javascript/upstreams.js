import upstreams from "gateway:plugin/upstreams@0.2.0";
import { handleOf } from "./arguments.js";
import { call } from "./errors.js";
import { plain } from "./text.js";

export function select(request, name) {
  const [handle, upstream] = [handleOf("request", request), plain(name, "name")];
  call(upstream, () => upstreams.select(handle, upstream));
}
