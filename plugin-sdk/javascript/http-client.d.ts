// Calls to upstreams that the operator grants by name: `imports: [http-client]`.
//
// A call that gets no response throws a `GatewayError` whose `code` is `denied`, `invalid`, `timeout`, `unreachable`, `too-large` or
// `other`. A response is no error, whatever its status.
import type { HeaderInit } from "./index.js";

export interface Call {
  upstream: string;
  /** GET if left out. */
  method?: string;
  /** Path and query; `/` if left out. */
  target?: string;
  headers?: HeaderInit;
  body?: string | Uint8Array;
  /** 5000 if left out; at most 60,000. */
  timeoutMs?: number;
}

/** The response of an upstream. */
export interface UpstreamResponse {
  readonly status: number;
  readonly headers: Array<[name: string, value: string]>;
  readonly body: Uint8Array;
  /** The first value of a header. */
  header(name: string): string | undefined;
  /** Bytes that are not UTF-8 become lone surrogates, as in header values; it does not throw. */
  text(): string;
  json(): unknown;
}

/** A call in progress. The end of the phase cancels it. */
export interface PendingCall {
  /** Waits for the whole response, which is returned once. */
  wait(): UpstreamResponse;
  cancel(): void;
}

/** Sends a request and waits for the whole response. */
export function send(call: Call): UpstreamResponse;
/** Sends a request without waiting for the response, so that several calls can be in progress at a time: up to 16. */
export function start(call: Call): PendingCall;
