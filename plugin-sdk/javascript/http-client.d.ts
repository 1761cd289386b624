// Calls to upstreams that are granted by name: `imports: [http-client]`.
export interface Call {
  upstream: string;
  /** GET if left out. */
  method?: string;
  /** Path and query. */
  target?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** 5000 if left out. */
  timeoutMs?: number;
}
export interface Answer {
  status: number;
  headers: Array<[name: string, value: string]>;
  body: Uint8Array;
  text(): string;
  json(): unknown;
}
/** Throws an error whose `code` is `denied`, `invalid`, `timeout`, `unreachable`, `too-large` or `other`. */
export function send(call: Call): Answer;
