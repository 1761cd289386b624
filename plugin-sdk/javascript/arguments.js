// Checks what a plugin passes to the gateway. The bindings trap on a value of another type, which costs the instance and says
// nothing about the cause; these checks throw an error that names the parameter.

const MAX_U32 = 0xffffffff;

/** What a value is, for people. */
export function kindOf(value) {
  if (value === null) return "null";
  if (typeof value !== "object") return typeof value;
  return Array.isArray(value) ? "an array" : `an object of ${value.constructor?.name ?? "no class"}`;
}

/** The error for a parameter of the wrong type. */
export function wrong(parameter, expected, value) {
  return new TypeError(`${parameter} must be ${expected}, not ${kindOf(value)}`);
}

/** A string; numbers and booleans are written as JavaScript writes them. */
export function scalar(parameter, value) {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  throw wrong(parameter, "a string", value);
}

/** An integer within a range, as a number. */
export function integer(parameter, value, least = 0, most = Number.MAX_SAFE_INTEGER) {
  const given = typeof value === "bigint" ? Number(value) : value;
  if (typeof given !== "number") throw wrong(parameter, "an integer", value);
  if (!Number.isInteger(given) || given < least || given > most) {
    throw new RangeError(`${parameter} must be an integer from ${least} to ${most}, not ${value}`);
  }
  return given;
}

/** An integer of 32 bits without a sign. The bindings read these bits from a signed integer. */
export function u32(parameter, value) {
  return integer(parameter, value, 0, MAX_U32) | 0;
}

/** A duration in milliseconds, or null if it is left out. */
export function millis(parameter, value) {
  return value == null ? null : integer(parameter, value);
}

/** A number. */
export function number(parameter, value) {
  const given = typeof value === "bigint" ? Number(value) : value;
  if (typeof given !== "number") throw wrong(parameter, "a number", value);
  return given;
}

/** A boolean. */
export function boolean(parameter, value) {
  if (typeof value !== "boolean") throw wrong(parameter, "a boolean", value);
  return value;
}

/** One of several names. */
export function oneOf(parameter, value, names) {
  if (names.includes(value)) return value;
  const given = typeof value === "string" ? `"${value}"` : kindOf(value);
  throw new TypeError(`${parameter} must be one of ${names.map((name) => `"${name}"`).join(", ")}, not ${given}`);
}

/** An object with named members. */
export function object(parameter, value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(parameter, "an object", value);
  return value;
}

/** A list. */
export function list(parameter, value) {
  if (!Array.isArray(value)) throw wrong(parameter, "an array", value);
  return value;
}

/** The gateway's handle of a request or a response that a phase got. */
export function handleOf(parameter, value) {
  if (typeof value?.handle !== "object" || value.handle === null) throw wrong(parameter, `the ${parameter} of the phase`, value);
  return value.handle;
}

/** The same, or null if there is none. */
export function optionalHandleOf(parameter, value) {
  return value == null ? null : handleOf(parameter, value);
}
