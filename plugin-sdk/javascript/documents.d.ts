// Documents of granted upstreams, such as key sets: `imports: [documents]`. The gateway fetches each of them once for all instances,
// keeps it, and refreshes it before it expires, while the present one remains in use.

/** Where a document is, and how old it may become. */
export interface Source {
  upstream: string;
  /** Path and query; `/` if left out. */
  target?: string;
  /** The age at which the document is fetched again; ten minutes if left out. Calls do not wait for that. */
  refreshMs?: number;
  /** The least time between two attempts; half a minute if left out. */
  retryMs?: number;
  /** The age up to which the document remains in use if it cannot be fetched again; a day if left out. */
  maxStaleMs?: number;
  /** For each attempt; 5000 if left out, at most a minute. */
  timeoutMs?: number;
}

export interface Document {
  /** Changes with the text; never 0. */
  readonly version: number;
  readonly bytes: Uint8Array;
  text(): string;
  json(): unknown;
}

/**
 * The document, or `undefined` if its version is still the `known` one (0, the default, for none). Waits only if there is no document in
 * use yet, or with `forceRefresh`, which fetches it again unless that was attempted less than `retryMs` ago.
 *
 * Throws a `GatewayError` whose `code` is `denied`, `invalid`, `unavailable` or `other`.
 */
export function get(source: Source, known?: number, options?: { forceRefresh?: boolean }): Document | undefined;
