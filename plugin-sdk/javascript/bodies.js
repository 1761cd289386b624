import bodies from "gateway:plugin/bodies@0.2.0";
import { call, decode, encode, octets } from "./text.js";

export const readRequest = (request) => call("body", () => octets(bodies.readRequest(request.handle)));
export const readRequestText = (request) => decode(readRequest(request));
export const replaceRequest = (request, body) => call("body", () => bodies.replaceRequest(request.handle, encode(body)));
export const readResponse = (response) => call("body", () => octets(bodies.readResponse(response.handle)));
export const readResponseText = (response) => decode(readResponse(response));
export const replaceResponse = (response, body) => call("body", () => bodies.replaceResponse(response.handle, encode(body)));
