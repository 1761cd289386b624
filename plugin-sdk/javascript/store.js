import store from "gateway:plugin/store@0.2.0";
import { integer, list, millis, object, oneOf, u32 } from "./arguments.js";
import { call, refused } from "./errors.js";
import { decode, encode, octets, plain } from "./text.js";

/** Milliseconds of the gateway; 2^64 - 1 stands for never. */
const NEVER = 2 ** 64;

const bytes = (value) => (value == null ? undefined : octets(value));
const optional = (value, parameter) => (value == null ? null : encode(value, parameter));
const swapOf = ({ tag, val }) => (tag === "swapped" ? { swapped: true } : { swapped: false, present: bytes(val) });
const scopeOf = (scope) => oneOf("scope", scope, ["shared", "local"]);
const quotaOf = ({ limit, periodMs, burst = limit }) => ({
  limit: u32("limit", limit),
  periodMs: integer("periodMs", periodMs),
  burst: u32("burst", burst),
});
const verdictOf = ({ allowed, remaining, resetAfterMs, retryAfterMs }) => ({
  allowed,
  remaining: remaining >>> 0,
  resetAfterMs: Number(resetAfterMs),
  retryAfterMs: Number(retryAfterMs) === NEVER ? Infinity : Number(retryAfterMs),
});

/** One operation of a batch, and how its result is read. */
const OPERATIONS = {
  get: ({ get: key }) => ({ tag: "get", val: plain(key, "get") }),
  set: ({ set: key, value, ttlMs }) => ({
    tag: "set",
    val: { key: plain(key, "set"), value: encode(value, "value"), ttlMs: millis("ttlMs", ttlMs) },
  }),
  delete: ({ delete: key }) => ({ tag: "delete", val: plain(key, "delete") }),
  increment: ({ increment: key, by = 1, ttlMs }) => ({
    tag: "increment",
    val: { key: plain(key, "increment"), by: integer("by", by, Number.MIN_SAFE_INTEGER), ttlMs: millis("ttlMs", ttlMs) },
  }),
  compareAndSwap: ({ compareAndSwap: key, expected, value, ttlMs }) => ({
    tag: "compare-and-swap",
    val: { key: plain(key, "compareAndSwap"), expected: optional(expected, "expected"), value: optional(value, "value"), ttlMs: millis("ttlMs", ttlMs) },
  }),
  setTtl: ({ setTtl: key, ttlMs }) => ({ tag: "set-ttl", val: { key: plain(key, "setTtl"), ttlMs: millis("ttlMs", ttlMs) } }),
};

function operation(given) {
  const kinds = Object.keys(OPERATIONS).filter((kind) => Object.hasOwn(object("each operation", given), kind));
  if (kinds.length !== 1) throw new TypeError(`each operation must have one of ${Object.keys(OPERATIONS).join(", ")}`);
  return OPERATIONS[kinds[0]](given);
}

function resultOf(bucket, { tag, val }) {
  if (tag === "err") return { error: refused(bucket, val) };
  if (val.tag === "value") return { value: bytes(val.val) };
  if (val.tag === "swap") return { value: swapOf(val.val) };
  if (val.tag === "exists") return { value: val.val };
  return { value: val.tag === "sum" ? Number(val.val) : undefined };
}

/** A bucket that is granted by name. */
export class Bucket {
  constructor(name) {
    this.name = plain(name, "name");
  }
  get(key) {
    const given = plain(key, "key");
    return bytes(call(this.name, () => store.get(this.name, given)));
  }
  getText(key) {
    const value = this.get(key);
    return value === undefined ? undefined : decode(value);
  }
  set(key, value, { ttlMs } = {}) {
    const given = [plain(key, "key"), encode(value, "value"), millis("ttlMs", ttlMs)];
    call(this.name, () => store.set(this.name, ...given));
  }
  delete(key) {
    const given = plain(key, "key");
    call(this.name, () => store.delete(this.name, given));
  }
  increment(key, by = 1, { ttlMs } = {}) {
    const given = [plain(key, "key"), integer("by", by, Number.MIN_SAFE_INTEGER), millis("ttlMs", ttlMs)];
    return Number(call(this.name, () => store.increment(this.name, ...given)));
  }
  compareAndSwap(key, expected, value, { ttlMs } = {}) {
    const given = [plain(key, "key"), optional(expected, "expected"), optional(value, "value"), millis("ttlMs", ttlMs)];
    return swapOf(call(this.name, () => store.compareAndSwap(this.name, ...given)));
  }
  setTtl(key, ttlMs) {
    const given = [plain(key, "key"), millis("ttlMs", ttlMs)];
    return call(this.name, () => store.setTtl(this.name, ...given));
  }
  acquire(key, limit, ttlMs, { scope = "shared" } = {}) {
    const given = [plain(key, "key"), u32("limit", limit), integer("ttlMs", ttlMs), scopeOf(scope)];
    const { lease, holders } = call(this.name, () => store.acquire(this.name, ...given));
    return { lease: lease ?? undefined, holders: holders >>> 0 };
  }
  renew(key, lease, ttlMs) {
    const given = [plain(key, "key"), plain(lease, "lease"), integer("ttlMs", ttlMs)];
    return call(this.name, () => store.renew(this.name, ...given));
  }
  release(key, lease) {
    const given = [plain(key, "key"), plain(lease, "lease")];
    call(this.name, () => store.release(this.name, ...given));
  }
  batch(operations) {
    const given = list("operations", operations).map(operation);
    return call(this.name, () => store.batch(this.name, given)).map((result) => resultOf(this.name, result));
  }
  take(key, quota, cost = 1) {
    const given = [plain(key, "key"), quotaOf(object("quota", quota)), u32("cost", cost)];
    return verdictOf(call(this.name, () => store.take(this.name, ...given)));
  }
  takeAll(group, steps, { scope = "shared" } = {}) {
    const step = ({ key, counting = "steady", cost = 1, ...quota }) => ({
      key: plain(key, "key"),
      quota: quotaOf(quota),
      counting: oneOf("counting", counting, ["steady", "sliding"]),
      cost: u32("cost", cost),
    });
    const given = list("steps", steps).map((one) => step(object("each step", one)));
    const where = [plain(group, "group"), given, scopeOf(scope)];
    return call(this.name, () => store.takeAll(this.name, ...where)).map(verdictOf);
  }
}
