import client from "gateway:plugin/http-client@0.1.0";
import { call, decode, encode } from "./text.js";

export function send({ upstream, method = "GET", target = "/", headers = {}, body = "", timeoutMs = 5000 }) {
  const lines = Object.entries(headers).map(([name, value]) => [name, encode(value)]);
  const made = { upstream, method, pathWithQuery: target, headers: lines, body: encode(body), timeoutMs };
  const reply = call(upstream, () => client.send(made));
  const bytes = Uint8Array.from(reply.body);
  return {
    status: reply.status,
    headers: reply.headers.map(([name, value]) => [name, decode(value)]),
    body: bytes,
    text: () => decode(bytes),
    json: () => JSON.parse(decode(bytes)),
  };
}
