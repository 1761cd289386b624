// State that all instances share, in buckets that the operator grants by name: `imports: [store]`.
//
// If the gateway refuses an operation, a `GatewayError` is thrown whose `code` is `denied`, `too-large`, `unavailable` or `other`.
import type { GatewayError } from "./index.js";

type Data = string | Uint8Array;

export interface Quota {
  /** Units that come back in each period. */
  limit: number;
  periodMs: number;
  /** Units that can be taken at once; `limit` if left out. */
  burst?: number;
}

export interface Verdict {
  /** Whether the units were available, and were taken. */
  allowed: boolean;
  /** Units that are available at once, after this step. */
  remaining: number;
  /** The time until the whole burst is available. */
  resetAfterMs: number;
  /** The time until this step would be allowed: 0 if it was, `Infinity` if it costs more than the burst. */
  retryAfterMs: number;
}

/** One of several steps that are taken together. */
export interface Step extends Quota {
  /** Within the group. */
  key: string;
  /** `steady`, the default, counts as `take`. With `sliding`, units come back when they are one period old, and `burst` is ignored. */
  counting?: "steady" | "sliding";
  /** 1 if left out; 0 only asks. */
  cost?: number;
}

/** One operation of a batch; see the method of the same name. */
export type Operation =
  | { get: string }
  | { set: string; value: Data; ttlMs?: number }
  | { delete: string }
  | { increment: string; by?: number; ttlMs?: number };

/** The result of an operation: its value, or why it failed. */
export type OperationResult<O extends Operation = Operation> =
  | { value: O extends { get: string } ? Uint8Array | undefined : O extends { increment: string } ? number : undefined; error?: undefined }
  | { value?: undefined; error: GatewayError };

export class Bucket {
  constructor(name: string);
  get(key: string): Uint8Array | undefined;
  /** Bytes that are not UTF-8 become lone surrogates, as in header values. */
  getText(key: string): string | undefined;
  /** Without `ttlMs` the entry stays until it is deleted or evicted. */
  set(key: string, value: Data, options?: { ttlMs?: number }): void;
  /** It is no error if there is none. */
  delete(key: string): void;
  /** Adds to a decimal number, from 0 if there is none, and returns the sum, which is exact up to 2^53 - 1. `ttlMs` counts from the creation. */
  increment(key: string, by?: number, options?: { ttlMs?: number }): number;
  /**
   * Executes up to 64 independent operations, and returns their results in the same order. They are neither atomic nor ordered. If
   * the bucket is in Redis, all of them are sent before the first result is awaited.
   */
  batch<const O extends readonly Operation[]>(operations: O): { -readonly [K in keyof O]: OperationResult<O[K]> };
  /** Takes units of a quota in one atomic step (generic cell rate algorithm). A step that is refused takes nothing. */
  take(key: string, quota: Quota, cost?: number): Verdict;
  /**
   * Takes up to 16 steps together, all of them or none. If one is refused, nothing is taken, and the verdicts of the others say what
   * they would have been. Steps of one group, such as a client, are stored together. With the scope `local`, the counts are those in the
   * memory of this gateway, for use while the bucket cannot be reached.
   */
  takeAll(group: string, steps: readonly Step[], options?: { scope?: "shared" | "local" }): Verdict[];
}
