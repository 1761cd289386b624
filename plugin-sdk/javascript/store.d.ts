// State that all instances share, in buckets that are granted by name: `imports: [store]`.
//
// Where the operator keeps a bucket outside the gateway, a call may throw `later`: let it pass, and the phase is called again
// with the answer. So ask before anything is changed.
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
