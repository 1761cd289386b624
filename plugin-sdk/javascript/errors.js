// Errors of the gateway, and how an exception appears in the gateway's log.

/** What the gateway refused. `code` says why: `forbidden`, `denied`, `too-large`, … */
export class GatewayError extends Error {
  constructor(what, code, detail) {
    super(detail == null ? `${what}: ${code}` : `${what}: ${code}: ${detail}`);
    this.name = "GatewayError";
    this.code = code;
  }
}

/** What an import threw, as an error: a text, an enumeration's case, or a variant, in the engine's error. */
export function refused(what, thrown) {
  const reason = thrown?.payload ?? thrown;
  if (reason instanceof Error) return reason;
  if (typeof reason !== "object" || reason === null) return new GatewayError(what, String(reason));
  return new GatewayError(what, reason.tag, reason.val);
}

/** Calls the gateway; what it refuses is a `GatewayError`. */
export function call(what, made) {
  try {
    return made();
  } catch (thrown) {
    throw refused(what, thrown);
  }
}

/** More than these of a stack and of a chain of causes help nobody. */
const FRAMES = 8;
const CAUSES = 3;
const FRAME = /^\s*at (?:(.*?) \()?([^()]*?)\)?$/;
/** The folder of this package: its frames are left out, since the position in the plugin is what its author needs. */
const OWN = new Error().stack.split("\n").map(place).find((place) => place?.includes("errors.js"))?.split("errors.js")[0] ?? "\0";

function place(line) {
  return FRAME.exec(line)?.[2];
}

/** `function (file:line:column)` for each call of the plugin's own code, the innermost first. */
function frames(error) {
  const found = String(error.stack ?? "").split("\n").map((line) => FRAME.exec(line));
  const own = found.filter((frame) => frame !== null && /:\d+$/.test(frame[2]) && !frame[2].startsWith(OWN) && !frame[2].startsWith("<"));
  return own.slice(0, FRAMES).map(([, name, where]) => `${name || "a function"} (${where.replace(/^\//, "")})`);
}

/** An exception in one line: its name, its message, where it was thrown, and its causes. */
export function described(thrown) {
  const parts = [];
  for (let error = thrown, depth = 0; error != null && depth < CAUSES; error = error.cause, depth++) {
    const prefix = depth === 0 ? "" : "caused by ";
    if (!(error instanceof Error)) {
      parts.push(prefix + shown(error));
      break;
    }
    const where = frames(error);
    parts.push(`${prefix}${error.name}: ${error.message}${where.length === 0 ? "" : `, at ${where.join(", ")}`}`);
  }
  return parts.join("; ");
}

/** Any value in one line. */
export function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return described(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
