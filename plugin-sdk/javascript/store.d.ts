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
  | { increment: string; by?: number; ttlMs?: number }
  | { compareAndSwap: string; expected?: Data; value?: Data; ttlMs?: number }
  | { setTtl: string; ttlMs?: number };

/** What `compareAndSwap` did: if the value was not the expected one, nothing was changed, and `present` is the value there is. */
export type SwapResult = { swapped: true; present?: undefined } | { swapped: false; present: Uint8Array | undefined };

/** The result of `acquire`. */
export interface Acquisition {
  /** Absent if `limit` others hold the key. */
  lease: string | undefined;
  /** The holders of the key after this step. */
  holders: number;
}

type ValueOf<O> = O extends { get: string }
  ? Uint8Array | undefined
  : O extends { increment: string }
    ? number
    : O extends { compareAndSwap: string }
      ? SwapResult
      : O extends { setTtl: string }
        ? boolean
        : undefined;

/** The result of an operation: its value, or why it failed. */
export type OperationResult<O extends Operation = Operation> =
  | { value: ValueOf<O>; error?: undefined }
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
   * Sets the value in one atomic step if the present value is `expected`. With `expected` undefined there must be no value; with `value`
   * undefined it is deleted. If the call fails with `unavailable`, the step may have been made.
   */
  compareAndSwap(key: string, expected: Data | undefined, value: Data | undefined, options?: { ttlMs?: number }): SwapResult;
  /** Gives a value another TTL, counted from now; without `ttlMs` it stays until it is deleted or evicted. Returns whether there is a value. */
  setTtl(key: string, ttlMs?: number): boolean;
  /**
   * Becomes one of at most `limit` holders of a key, with a lease of 1 second to 1 hour. In a call that has a request, the gateway renews
   * the lease and releases it when the exchange ends; in other calls, such as those of timers, the plugin does, or its TTL ends it.
   */
  acquire(key: string, limit: number, ttlMs: number, options?: { scope?: "shared" | "local" }): Acquisition;
  /** Gives a lease a TTL, counted from now. Returns whether it is still held. */
  renew(key: string, lease: string, ttlMs: number): boolean;
  /** Releases a lease before its exchange or its TTL ends. It is no error if it is not held any more. */
  release(key: string, lease: string): void;
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
