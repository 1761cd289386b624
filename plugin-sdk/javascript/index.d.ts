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
  readonly patternProperties?: { readonly [pattern: string]: Schema };
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  /** `int64` and `uint64`: the value is a `bigint`, since a number holds no more than 53 bits. */
  readonly format?: string;
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

/** The type of the values that a schema describes. A property with a default is always present, in lists and maps too. */
export type Typed<S> = S extends { const: infer C }
  ? C
  : S extends { enum: readonly (infer E)[] }
    ? E
    : S extends { anyOf: readonly (infer A)[] } | { oneOf: readonly (infer A)[] }
      ? Typed<A>
      : S extends { type: "string" }
        ? string
        : S extends { type: "number" | "integer" }
          ? S extends { type: "integer"; format: "int64" | "uint64" }
            ? bigint
            : number
          : S extends { type: "boolean" }
            ? boolean
            : S extends { type: "null" }
              ? null
              : S extends { type: "array" }
                ? (S extends { items: infer I } ? Typed<I> : unknown)[]
                : S extends { type: "object" }
                  ? Properties<S> & Others<S>
                  : unknown;

/** What the gateway refused. `code` says why: `forbidden`, `denied`, `too-large`, … */
export class GatewayError extends Error {
  readonly code: string;
}

/**
 * Fields of a request or a response. Names are case-insensitive. A value may be any bytes: as text, each byte that is not UTF-8 becomes a
 * lone surrogate, from which the same byte is written again.
 */
export interface Fields extends Iterable<[name: string, value: string]> {
  /** The first value. */
  get(name: string): string | undefined;
  getBytes(name: string): Uint8Array | undefined;
  /** All values, in their order. */
  getAll(name: string): string[];
  getAllBytes(name: string): Uint8Array[];
  has(name: string): boolean;
  /** Replaces every value of the name. Throws if it is not valid, or not the plugin's to change. */
  set(name: string, value: string | Uint8Array): void;
  append(name: string, value: string | Uint8Array): void;
  delete(name: string): void;
}

/** Values that are attached to the exchange. Later plugins, load balancing and the access log can read them. */
export interface Attributes {
  get(key: string): string | undefined;
  set(key: string, value: string): void;
  delete(key: string): void;
}

export interface Request {
  /** The gateway's own, for interfaces without a module in this package. */
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

type HeaderValue = string | Uint8Array;
export type HeaderInit = Record<string, HeaderValue | HeaderValue[]> | Array<[string, HeaderValue]>;

/** A response that the plugin makes itself. */
export class Reply {
  constructor(status: number, content?: { headers?: HeaderInit; body?: string | Uint8Array });
  /** With a value as JSON. */
  static json(status: number, value: unknown, headers?: Record<string, string>): Reply;
  status: number;
  headers: HeaderInit;
  body: string | Uint8Array;
}

/** A response in problem+json (RFC 9457). */
export function problem(status: number, detail: string, more?: Record<string, unknown>): Reply;

declare const bodyDecision: unique symbol;
/** What `readBody` and `streamBody` return. */
export interface BodyDecision {
  readonly [bodyDecision]: true;
}

/** Has `onRequestBody` or `onResponseBody` called when the whole body has arrived. */
export function readBody(): BodyDecision;
/** Continues, and passes the body through `onRequestChunk` or `onResponseChunk`, which gets this state (up to 64 KiB) with the first chunk. */
export function streamBody(state?: string | Uint8Array): BodyDecision;

declare const messageDecision: unique symbol;
/** What `streamMessages` returns. */
export interface MessageDecision {
  readonly [messageDecision]: true;
}

/**
 * Continues, and passes each message through `onMessage`, which gets this state (up to 64 KiB) with the first one. Valid for a 101 that
 * accepts a WebSocket handshake, and for a response with `content-type: text/event-stream` and without `content-encoding`.
 */
export function streamMessages(state?: string | Uint8Array): MessageDecision;

/** An event of an event stream. Bytes that are not UTF-8 are U+FFFD. */
export interface ServerSentEvent {
  /** Without line ends and NUL. */
  id?: string | undefined;
  /** The field `event`, without line ends; an event without it has the type `message`. */
  name?: string | undefined;
  /** Lines with LF between them. */
  data: string;
}

/** A text message, a binary message, or an event. */
export type Message = string | Uint8Array | ServerSentEvent;

/** What becomes of a message. */
export interface MessageResult {
  /** What goes on in its place: an empty list drops it, and it passes unchanged if this is left out. */
  output?: Message[];
  /** Messages to the sender. The upstream of an event stream takes none. */
  replies?: Message[];
  /** Closes the WebSocket to both sides, or ends the event stream, after output and replies. */
  close?: { code: number; reason?: string } | undefined;
  /** The new state, up to 64 KiB; the present one is kept if it is left out. */
  state?: string | Uint8Array | undefined;
}

/** A whole body. */
export interface Body {
  readonly bytes: Uint8Array;
  readonly trailers: Array<[name: string, value: string]>;
  /** Bytes that are not UTF-8 become lone surrogates, as in header values; it does not throw. */
  text(): string;
  json(): unknown;
}

/** Why a body could not be read. */
export interface BodyError extends GatewayError {
  readonly code: "too-large" | "interrupted" | "invalid" | "unavailable" | "other";
  /** In bytes, for `too-large`. */
  readonly limit?: number;
}

/** Part of a body that passes through the plugin. */
export interface Chunk {
  /** The state that `streamBody` or the previous result gave. */
  readonly state: Uint8Array;
  /** The bytes that were not consumed before, and those that have arrived since. */
  readonly bytes: Uint8Array;
  /** This is the last chunk, with the body's trailers. */
  readonly end: boolean;
  readonly trailers: Array<[name: string, value: string]>;
}

export interface ChunkResult {
  /** How many of the chunk's bytes are done with. With the last chunk it has to be all of them. */
  consumed: number;
  /** What is sent on in their place. */
  output?: string | Uint8Array;
  /** The next call is made when at least this many bytes are there, or at the end of the body. */
  minBytes?: number;
  /** The new state, up to 64 KiB; the present one is kept if it is left out. */
  state?: string | Uint8Array | undefined;
  /** With the last chunk: the trailers to send. */
  trailers?: HeaderInit;
}

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
  /** The last states of `onRequestChunk` and `onResponseChunk`. */
  requestStreamState: Uint8Array | undefined;
  responseStreamState: Uint8Array | undefined;
  /** The last state of `onMessage`. */
  messageState: Uint8Array | undefined;
}

/** Requests that a plugin serves itself. */
export interface Endpoint {
  /** In upper case; all methods if it is left out. */
  method?: string;
  /** A pattern as in the gateway's configuration: `/shelves/{shelf}`, `/files/{*rest}`. */
  path: string;
  /** For people: the name of the call. */
  about?: string;
}

/** Work in the background, at intervals. */
export interface Timer {
  /** Unique among the timers of the plugin; 1 to 64 bytes. */
  name: string;
  /** From the end of a call to the beginning of the next one: 1 second to 24 hours. */
  intervalMs: number;
}

/**
 * The handlers of a plugin. Each has an export in plugin.yaml, and one of the module; a handler without its export, or an export
 * without its handler, is an error when the plugin is configured. What a handler throws is the plugin's failure. Handlers are not
 * `async`: what they would do after they have returned is never done, so that is an error.
 */
export interface Phases {
  /** `request-filter`. Nothing sends the request on; a reply answers it. */
  onRequest?(request: Request): Reply | BodyDecision | void;
  /** `request-body-filter`: after `onRequest` has returned `readBody()`, or for every request if there is no `onRequest`. */
  onRequestBody?(request: Request, body: Body): Reply | BodyDecision | void;
  /**
   * Called instead of `onRequestBody` if the body could not be read. Without it, the client gets 413 for a body that is too large and
   * 400 for one that was interrupted or is invalid; other errors are the plugin's failure.
   */
  onRequestBodyError?(request: Request, error: BodyError): Reply | BodyDecision | void;
  /** `request-stream`: after `onRequest` has returned `streamBody()`. */
  onRequestChunk?(chunk: Chunk): ChunkResult;
  /** `response-filter`. */
  onResponse?(request: Request, response: Response): BodyDecision | MessageDecision | void;
  /** `response-body-filter`: after `onResponse` has returned `readBody()`, or for every response if there is no `onResponse`. */
  onResponseBody?(request: Request, response: Response, body: Body): BodyDecision | MessageDecision | void;
  /** Called instead of `onResponseBody` if the body could not be read. Without it, that is the plugin's failure. */
  onResponseBodyError?(request: Request, response: Response, error: BodyError): BodyDecision | MessageDecision | void;
  /** `response-stream`: after `onResponse` has returned `streamBody()`. */
  onResponseChunk?(chunk: Chunk): ChunkResult;
  /**
   * `message-filter`: each message of a WebSocket or an event stream, after `onResponse` has returned `streamMessages()`. Nothing passes
   * the message on unchanged. `state` is what `streamMessages` or the previous call gave.
   */
  onMessage?(message: Message, sender: "client" | "upstream", state: Uint8Array): MessageResult | void;
  /** `observer`. Nothing can be changed any more. */
  onComplete?(request: Request, response: Response | undefined, outcome: Outcome): void;
  /** `active-phases`. The phases that are called with this configuration; one that is left out costs nothing. */
  activePhases?(): ("request" | "response" | "completion")[];
  /** `catalogue`. The requests that the plugin serves itself: the operator can make routes of them (`match: { from-plugin: NAME }`). */
  endpoints?(): Endpoint[];
  /** An OpenAPI 3.1 document of them, for `gateway openapi`. */
  openapi?(): object;
  /** `timers`. Up to 16 timers, which follow from the configuration alone. Needs `onTimer`. */
  timers?(): Timer[];
  /**
   * `timers`. Called without a request, once per gateway process, within a second after the configuration becomes active and then after
   * each interval. Calls of one timer never overlap. What it throws is counted and logged, and the next call is made after the interval.
   */
  onTimer?(name: string): void;
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
  requestBodyFilter: unknown;
  requestStream: unknown;
  responseFilter: unknown;
  responseBodyFilter: unknown;
  responseStream: unknown;
  messageFilter: unknown;
  observer: unknown;
  activePhases: unknown;
  catalogue: unknown;
  timers: unknown;
}

export function plugin<const S extends Schema>(definition: Definition<S>): Exports;

// Randomness of the gateway's, as `Math.random` is. Not on a module's top level, which runs when the component is built.
declare global {
  interface Crypto {
    getRandomValues<T extends Int8Array | Uint8Array | Uint8ClampedArray | Int16Array | Uint16Array | Int32Array | Uint32Array | BigInt64Array | BigUint64Array>(array: T): T;
    randomUUID(): string;
  }
  var crypto: Crypto;
  /** Milliseconds, with fractions, since the plugin was configured. */
  var performance: { now(): number };
}
