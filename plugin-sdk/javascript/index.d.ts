/** JSON Schema (2020-12), as far as it decides about types. */
export interface Schema {
  readonly type?: "object" | "array" | "string" | "number" | "integer" | "boolean" | "null";
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: { readonly [name: string]: Schema };
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly [keyword: string]: unknown;
}

type Simplified<T> = { [K in keyof T]: T[K] };
type Required<S> = S extends { required: readonly (infer R)[] } ? R : never;
type Present<S, P> = { [K in keyof P]: K extends Required<S> ? K : P[K] extends { default: unknown } ? K : never }[keyof P];
type Properties<S> = S extends { properties: infer P }
  ? Simplified<{ [K in keyof P & Present<S, P>]: Typed<P[K]> } & { [K in Exclude<keyof P, Present<S, P>>]?: Typed<P[K]> }>
  : unknown;
type Others<S> = S extends { additionalProperties: infer A }
  ? A extends boolean
    ? unknown
    : { [name: string]: Typed<A> }
  : unknown;

/** The type of the values that a schema describes; what has a default is there. */
export type Typed<S> = S extends { const: infer C }
  ? C
  : S extends { enum: readonly (infer E)[] }
    ? E
    : S extends { anyOf: readonly (infer A)[] } | { oneOf: readonly (infer A)[] }
      ? Typed<A>
      : S extends { type: "string" }
        ? string
        : S extends { type: "number" | "integer" }
          ? number
          : S extends { type: "boolean" }
            ? boolean
            : S extends { type: "null" }
              ? null
              : S extends { type: "array" }
                ? (S extends { items: infer I } ? Typed<I> : unknown)[]
                : S extends { type: "object" }
                  ? Properties<S> & Others<S>
                  : unknown;

/** Fields of a request or a response. Names are case-insensitive. */
export interface Fields extends Iterable<[name: string, value: string]> {
  /** The first value. */
  get(name: string): string | undefined;
  getAll(name: string): string[];
  has(name: string): boolean;
  /** Replaces every value of the name. Throws if it is not valid, or not the plugin's to change. */
  set(name: string, value: string | Uint8Array): void;
  append(name: string, value: string | Uint8Array): void;
  delete(name: string): void;
}

/** Notes that live as long as the exchange, and that later plugins, load balancing and the access log can read. */
export interface Attributes {
  get(key: string): string | undefined;
  set(key: string, value: string): void;
  delete(key: string): void;
}

export interface Request {
  /** The gateway's own, for the interfaces that this package has no words for. */
  readonly handle: unknown;
  /** As in the gateway's logs and in `x-request-id`. */
  readonly id: string;
  method: string;
  readonly scheme: "http" | "https";
  /** Host and optional port that the client asked for. */
  readonly authority: string;
  /** Normalised, without the query. */
  readonly path: string;
  readonly query: string | undefined;
  /** Path and query. */
  target: string;
  /** Before any plugin's edit. */
  readonly originalTarget: string;
  readonly protocol: string;
  /** Its IP address. */
  readonly clientAddress: string;
  /** Milliseconds since the Unix epoch. */
  readonly receivedAt: number;
  /**
   * The trace that the request belongs to, as a value of `traceparent` (W3C Trace Context §3.2). The upstream gets the same trace
   * identifier.
   */
  readonly traceParent: string | undefined;
  /** The name of the route that matched; empty where none did. */
  readonly route: string;
  readonly headers: Fields;
  readonly attributes: Attributes;
  /** What the route's path pattern captured. */
  pathParameter(name: string): string | undefined;
}

export interface Response {
  readonly handle: unknown;
  /** 200 to 599. */
  status: number;
  readonly headers: Fields;
}

export type HeaderInit = Record<string, string | string[]> | Array<[string, string]>;

/** An answer to the client. */
export class Reply {
  constructor(status: number, content?: { headers?: HeaderInit; body?: string | Uint8Array });
  /** With a value as JSON. */
  static json(status: number, value: unknown, headers?: Record<string, string>): Reply;
  status: number;
  headers: HeaderInit;
  body: string | Uint8Array;
}

/** An answer in problem+json (RFC 9457). */
export function problem(status: number, detail: string, more?: Record<string, unknown>): Reply;

/** What is wrong with the configuration, at a JSON Pointer (RFC 6901): thrown by `create`. */
export class ConfigProblem extends Error {
  constructor(pointer: string, message: string);
  pointer: string;
}

/** How an exchange ended. */
export interface Outcome {
  /** Absent when the client left before a response began. */
  status: number | undefined;
  /** Why the gateway itself answered or gave up: `upstream-timeout`, `client-closed`, … */
  failure: string | undefined;
  upstream: string | undefined;
  requestBytes: number;
  responseBytes: number;
  durationUs: number;
  upstreamUs: number | undefined;
  pluginsUs: number;
}

/** The phases that a plugin takes part in; `exports` in plugin.yaml names the same. What they throw is the plugin's failure. */
export interface Phases {
  /** Nothing sends the request on; a reply answers it. */
  /** Phases are not `async`: what they would do after they have returned is never done, so that is an error. */
  onRequest?(request: Request): Reply | void;
  onResponse?(request: Request, response: Response): void;
  /** Nothing can be changed any more. */
  onComplete?(request: Request, response: Response | undefined, outcome: Outcome): void;
}

export interface Definition<S extends Schema> {
  name: string;
  version: string;
  description?: string;
  /** JSON Schema (2020-12) of the configuration, which is its type as well. The gateway checks the YAML against it. */
  config?: S;
  /** Called once with the configuration, defaults filled in. */
  create(config: Typed<S>): Phases;
}

/** What a component exports: `export const { lifecycle, requestFilter } = plugin({ … })`. */
export interface Exports {
  lifecycle: unknown;
  requestFilter: unknown;
  responseFilter: unknown;
  observer: unknown;
}

export function plugin<const S extends Schema>(definition: Definition<S>): Exports;

// Randomness of the gateway's, as `Math.random` is. Not on a module's top level, which runs when the component is built.
declare global {
  interface Crypto {
    getRandomValues<T extends Int8Array | Uint8Array | Uint8ClampedArray | Int16Array | Uint16Array | Int32Array | Uint32Array | BigInt64Array | BigUint64Array>(array: T): T;
    randomUUID(): string;
  }
  var crypto: Crypto;
}
