// State that all instances share, in buckets that are granted by name: `imports: [store]`.
// What the gateway refuses is thrown as an error whose `code` is `denied`, `too-large`, `unavailable` or `other`.
export interface Verdict {
  allowed: boolean;
  remaining: number;
  resetAfterMs: number;
  retryAfterMs: number;
}
export class Bucket {
  constructor(name: string);
  get(key: string): Uint8Array | undefined;
  getText(key: string): string | undefined;
  /** Without `ttlMs` it stays until deleted or displaced. */
  set(key: string, value: string | Uint8Array, options?: { ttlMs?: number }): void;
  delete(key: string): void;
  /** Adds to a decimal number, from 0 where there is none, and returns the sum. */
  increment(key: string, by?: number, options?: { ttlMs?: number }): number;
  /** One atomic step of the generic cell rate algorithm. */
  take(key: string, quota: { limit: number; periodMs: number; burst?: number }, cost?: number): Verdict;
}
