import bodies from "gateway:plugin/bodies@0.2.0";
import { call, encode, lines } from "./text.js";

const made = (body, trailers) => ({ bytes: encode(body), trailers: lines(trailers) });

export function replaceRequest(request, body, trailers = []) {
  call("body", () => bodies.replaceRequest(request.handle, made(body, trailers)));
}

export function replaceResponse(response, body, trailers = []) {
  call("body", () => bodies.replaceResponse(response.handle, made(body, trailers)));
}
