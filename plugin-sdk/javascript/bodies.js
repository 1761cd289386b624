import bodies from "gateway:plugin/bodies@0.2.0";
import { handleOf } from "./arguments.js";
import { call } from "./errors.js";
import { encode, lines } from "./text.js";

const lowered = (body, trailers) => ({ bytes: encode(body, "body"), trailers: lines(trailers, "trailers") });

export function replaceRequest(request, body, trailers = []) {
  const given = [handleOf("request", request), lowered(body, trailers)];
  call("body", () => bodies.replaceRequest(...given));
}

export function replaceResponse(response, body, trailers = []) {
  const given = [handleOf("response", response), lowered(body, trailers)];
  call("body", () => bodies.replaceResponse(...given));
}
