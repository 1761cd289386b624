"""Calls to upstreams that are granted by name: `imports: [http-client]`."""

import json as _json
from dataclasses import dataclass
from typing import Any

from wit_world.imports import http_client as _client

from ._http import call, plain, raw, text


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        return _json.loads(self.body)


def send(
    upstream: str,
    target: str = "/",
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: str | bytes = b"",
    timeout_ms: int = 5000,
) -> Answer:
    """Raises `GatewayError` with `denied`, `invalid`, `timeout`, `unreachable`, `too-large` or `other`."""
    lines = [(plain(name), raw(value)) for name, value in (headers or {}).items()]
    made = _client.Call(plain(upstream), plain(method), plain(target), lines, raw(body), timeout_ms)
    reply = call(upstream, lambda: _client.send(made))
    return Answer(reply.status, [(name, text(value)) for name, value in reply.headers], reply.body)
