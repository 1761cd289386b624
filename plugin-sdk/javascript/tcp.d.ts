// Connections to upstreams with TCP endpoints (`tcp://`, `tls://`) that the operator grants by name, for protocols that the plugin
// implements itself: `imports: [tcp]`. The gateway pools the connections. A call has up to 16 connections at a time.
//
// What fails throws a `GatewayError` whose `code` is `denied`, `timeout`, `unreachable`, `closed`, `too-large`, `unavailable` or `other`.

export interface Message {
  upstream: string;
  bytes: string | Uint8Array;
  /** `send` returns when at least this many bytes of the answer have arrived; with 0, the default, when the message was sent. */
  minBytes?: number;
  /** For all that happens on the connection until it is released; 5000 if left out, at most a minute. */
  timeoutMs?: number;
  /** The message may be sent a second time, if a pooled connection turns out to be closed. */
  repeatable?: boolean;
}

export interface Connection {
  /** Waits until at least this many bytes (1 if left out) have arrived that were not returned before, and returns all that have. */
  receive(minBytes?: number): Uint8Array;
  /** The answer is complete: returns the connection to the pool. A connection that is not released is closed when the phase ends. */
  release(): void;
  close(): void;
}

/** Sends a message on a pooled or new connection, and waits for the answer to begin. */
export function send(message: Message): Connection;
