import random from "wasi:random/random@0.2.12";
import { octets } from "./text.js";

// A component is a snapshot of the engine after the modules have run, and so is the seed of the engine's own `Math.random`: the
// same numbers in every instance, for everybody who has the component. So all randomness comes from the gateway, call by call.

const POOL_BYTES = 256;
/** The most that `getRandomValues` fills (Web Cryptography API §10.1.1). */
const MOST_BYTES = 65536;

// The engine's `performance` counts from the build, on another machine's clock; it counts from the plugin's configuration here.
const now = performance.now.bind(performance);
let origin = now();
Object.defineProperty(globalThis, "performance", { value: { now: () => now() - origin }, configurable: true, writable: true });

let begun = false;
let pool = new Uint32Array(0);
let at = 0;

/** The instance is being configured: it is no snapshot any more. */
export function begin() {
  begun = true;
  origin = now();
}

function bytes(count) {
  if (!begun) throw new Error("random numbers of a module's top level would be the same in every instance: make them in `create` or in a phase");
  return octets(random.getRandomBytes(count));
}

function word() {
  if (at === pool.length) {
    pool = new Uint32Array(new Uint8Array(bytes(POOL_BYTES)).buffer);
    at = 0;
  }
  return pool[at++];
}

/** 53 bits, which is what a number has. */
Math.random = () => ((word() >>> 5) * 0x4000000 + (word() >>> 6)) / 0x20000000000000;

const INTEGERS = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array];

function getRandomValues(array) {
  if (!INTEGERS.some((kind) => array instanceof kind)) throw new DOMException("expected an array of integers", "TypeMismatchError");
  if (array.byteLength > MOST_BYTES) throw new DOMException(`more than ${MOST_BYTES} bytes`, "QuotaExceededError");
  if (array.byteLength > 0) new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(bytes(array.byteLength));
  return array;
}

/** Version 4 (RFC 9562 §5.4). */
function randomUUID() {
  const made = getRandomValues(new Uint8Array(16));
  made[6] = (made[6] & 0x0f) | 0x40;
  made[8] = (made[8] & 0x3f) | 0x80;
  const hex = made.toHex();
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

globalThis.crypto ??= { getRandomValues, randomUUID };
