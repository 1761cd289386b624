import client from "gateway:plugin/http-client@0.2.0";
import { call, decode, encode, octets, plain } from "./text.js";

export function send({ upstream, method = "GET", target = "/", headers = {}, body = "", timeoutMs = 5000 }) {
  const lines = Object.entries(headers).map(([name, value]) => [plain(name), encode(value)]);
  const text = { upstream: plain(upstream), method: plain(method), pathWithQuery: plain(target) };
  const made = { ...text, headers: lines, body: encode(body), timeoutMs };
  const reply = call(upstream, () => client.send(made));
  const bytes = octets(reply.body);
  return {
    status: reply.status,
    headers: reply.headers.map(([name, value]) => [name, decode(value)]),
    body: bytes,
    text: () => decode(bytes),
    json: () => JSON.parse(decode(bytes)),
  };
}
