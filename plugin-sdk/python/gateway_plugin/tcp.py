"""Connections to upstreams with TCP endpoints (`tcp://`, `tls://`) that the operator grants by name: `imports: [tcp]`.

For protocols that the plugin implements itself. The gateway pools the connections. A call has up to 16 connections at a time. What fails
raises `GatewayError` with the code `denied`, `timeout`, `unreachable`, `closed`, `too-large`, `unavailable` or `other`.
"""

from typing import Any

from wit_world.imports import tcp as _tcp

from . import _arguments as arguments
from ._http import GatewayError, call


class Connection:
    """A connection on which a message was sent. One that is not released is closed when it is dropped or the phase ends."""

    def __init__(self, connection: Any, upstream: str) -> None:
        self._connection = connection
        self._upstream = upstream

    def receive(self, min_bytes: int = 1) -> bytes:
        """Waits until at least this many bytes have arrived that were not returned before, and returns all that have."""
        return call(self._upstream, self._open().receive, arguments.integer("min_bytes", min_bytes))

    def release(self) -> None:
        """The answer is complete: returns the connection to the pool."""
        connection = self._open()
        self._connection = None
        _tcp.release(connection)

    def close(self) -> None:
        self._connection = None

    def _open(self) -> Any:
        if self._connection is None:
            raise GatewayError(self._upstream, "other", "this connection was released or closed before")
        return self._connection


def send(upstream: str, message: str | bytes, *, min_bytes: int = 0, timeout_ms: int = 5000, repeatable: bool = False) -> Connection:
    """Sends a message on a pooled or new connection, and waits for the answer to begin.

    It returns when at least `min_bytes` of the answer have arrived; with 0, when the message was sent. `timeout_ms` is for all that
    happens on the connection until it is released, at most a minute. A `repeatable` message may be sent a second time, if a pooled
    connection turns out to be closed.
    """
    lowered = _tcp.Message(
        arguments.text("upstream", upstream),
        arguments.data("message", message),
        arguments.integer("min_bytes", min_bytes),
        arguments.integer("timeout_ms", timeout_ms),
        arguments.boolean("repeatable", repeatable),
    )
    return Connection(call(upstream, _tcp.send, lowered), upstream)
