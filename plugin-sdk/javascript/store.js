import store from "gateway:plugin/store@0.2.0";
import { call, decode, encode, octets, plain } from "./text.js";

/** A bucket that is granted by name. */
export class Bucket {
  constructor(name) {
    this.name = plain(name);
  }
  get(key) {
    const value = call(this.name, () => store.get(this.name, plain(key)));
    return value == null ? undefined : octets(value);
  }
  getText(key) {
    const value = this.get(key);
    return value === undefined ? undefined : decode(value);
  }
  set(key, value, { ttlMs = null } = {}) {
    call(this.name, () => store.set(this.name, plain(key), encode(value), ttlMs));
  }
  delete(key) {
    call(this.name, () => store.delete(this.name, plain(key)));
  }
  increment(key, by = 1, { ttlMs = null } = {}) {
    return Number(call(this.name, () => store.increment(this.name, plain(key), by, ttlMs)));
  }
  take(key, { limit, periodMs, burst = limit }, cost = 1) {
    const { allowed, remaining, resetAfterMs, retryAfterMs } = call(this.name, () =>
      store.take(this.name, plain(key), { limit, periodMs, burst }, cost),
    );
    return { allowed, remaining, resetAfterMs: Number(resetAfterMs), retryAfterMs: Number(retryAfterMs) };
  }
}
