"""Bodies: whole, and chunk by chunk."""

import json
from dataclasses import dataclass, field
from typing import Any

from . import _arguments as arguments
from ._http import Fields, GatewayError, refused, text

#: Where a class has a field of the name `bytes`.
Bytes = bytes


@dataclass(frozen=True)
class BodyDecision:
    """What `read_body` and `stream_body` return."""

    state: bytes | None = None


def read_body() -> BodyDecision:
    """Has `on_request_body` or `on_response_body` called when the whole body has arrived."""
    return BodyDecision()


def stream_body(state: str | bytes = b"") -> BodyDecision:
    """Continues, and passes the body through `on_request_chunk` or `on_response_chunk`, which gets this state (up to 64 KiB) with the
    first chunk."""
    return BodyDecision(arguments.data("state", state))


class BodyError(GatewayError):
    """Why a body could not be read: `code` is `too-large`, `interrupted`, `invalid`, `unavailable` or `other`."""

    #: In bytes, for `too-large`.
    limit: int | None = None


def body_error(value: Any) -> BodyError:
    found = refused("body", value)
    error = BodyError(*found.parts)
    if found.code == "too-large":
        error.limit = value.value
    return error


@dataclass
class Body:
    """A whole body with its trailers."""

    bytes: Bytes
    trailers: list[tuple[str, str]]

    @classmethod
    def of(cls, body: Any) -> "Body":
        return cls(body.bytes, _fields(body.trailers))

    def text(self) -> str:
        """Bytes that are not UTF-8 become lone surrogates, as in header values; it does not raise."""
        return text(self.bytes)

    def json(self) -> Any:
        return json.loads(self.text())


@dataclass
class Chunk:
    """Part of a body that passes through the plugin."""

    #: The state that `stream_body` or the previous result gave.
    state: Bytes
    #: The bytes that were not consumed before, and those that have arrived since.
    bytes: Bytes
    #: This is the last chunk, with the body's trailers.
    end: bool
    trailers: list[tuple[str, str]]


@dataclass
class ChunkResult:
    #: How many of the chunk's bytes are done with. With the last chunk it has to be all of them.
    consumed: int
    #: What is sent on in their place.
    output: str | bytes = b""
    #: The next call is made when at least this many bytes are there, or at the end of the body.
    min_bytes: int = 0
    #: The new state, up to 64 KiB; the present one is kept if there is none.
    state: str | bytes | None = None
    #: With the last chunk: the trailers to send.
    trailers: Fields = field(default_factory=list)


def chunk_of(chunk: Any) -> Chunk:
    return Chunk(chunk.state, chunk.bytes, chunk.end is not None, _fields(chunk.end or []))


def passed(handler: str, chunk: Any, result: Any) -> Any:
    """What a handler has done with a chunk, as the gateway takes it."""
    from wit_world.imports import bodies

    if not isinstance(result, ChunkResult):
        raise TypeError(f"{handler} must return a ChunkResult, not {type(result).__name__}")
    return bodies.ChunkResult(
        arguments.integer("consumed", result.consumed, most=len(chunk.bytes)),
        arguments.data("output", result.output),
        arguments.integer("min_bytes", result.min_bytes),
        None if result.state is None else arguments.data("state", result.state),
        arguments.field_lines("trailers", result.trailers),
    )


def _fields(pairs: Any) -> list[tuple[str, str]]:
    return [(name, text(value)) for name, value in pairs]
