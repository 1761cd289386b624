"""Calls to upstreams that the operator grants by name: `imports: [http-client]`.

A call that gets no response raises `GatewayError` with the code `denied`, `invalid`, `timeout`, `unreachable`, `too-large` or `other`.
A response is no error, whatever its status.
"""

import json as _json
from dataclasses import dataclass
from typing import Any

from wit_world.imports import http_client as _client

from . import _arguments as arguments
from ._http import Fields, GatewayError, call
from ._http import text as _text


@dataclass
class UpstreamResponse:
    """The response of an upstream."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        wanted = arguments.text("name", name).lower()
        return next((value for found, value in self.headers if found == wanted), None)

    def text(self) -> str:
        """Bytes that are not UTF-8 become lone surrogates, as in header values; it does not raise."""
        return _text(self.body)

    def json(self) -> Any:
        return _json.loads(self.text())


class PendingCall:
    """A call in progress. Dropping it cancels the call, and so does the end of the phase."""

    def __init__(self, pending: Any, upstream: str) -> None:
        self._pending = pending
        self._upstream = upstream

    def wait(self) -> UpstreamResponse:
        """Waits for the whole response, which is returned once."""
        pending, self._pending = self._pending, None
        if pending is None:
            raise GatewayError(self._upstream, "other", "this call was waited for or cancelled before")
        return _response(call(self._upstream, pending.wait))

    def cancel(self) -> None:
        self._pending = None


def send(
    upstream: str,
    target: str = "/",
    *,
    method: str = "GET",
    headers: Fields = (),
    body: str | bytes = b"",
    timeout_ms: int = 5000,
) -> UpstreamResponse:
    """Sends a request and waits for the whole response. `target` is path and query."""
    return _response(call(upstream, _client.send, _call(upstream, target, method, headers, body, timeout_ms)))


def start(
    upstream: str,
    target: str = "/",
    *,
    method: str = "GET",
    headers: Fields = (),
    body: str | bytes = b"",
    timeout_ms: int = 5000,
) -> PendingCall:
    """Sends a request without waiting for the response, so that several calls can be in progress at a time: up to 16."""
    return PendingCall(call(upstream, _client.start, _call(upstream, target, method, headers, body, timeout_ms)), upstream)


def _call(upstream: str, target: str, method: str, headers: Fields, body: str | bytes, timeout_ms: int) -> Any:
    return _client.Call(
        arguments.text("upstream", upstream),
        arguments.text("method", method),
        arguments.text("target", target),
        arguments.field_lines("headers", headers),
        arguments.data("body", body),
        arguments.integer("timeout_ms", timeout_ms),
    )


def _response(reply: Any) -> UpstreamResponse:
    return UpstreamResponse(reply.status, [(name, _text(value)) for name, value in reply.headers], reply.body)
