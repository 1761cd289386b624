"""Requests, responses and answers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, TypeVar

from componentize_py_types import Err

T = TypeVar("T")


class GatewayError(Exception):
    """What the gateway refused. `code` says why: `forbidden`, `denied`, `too-large`, …"""

    def __init__(self, what: str, code: str, detail: str = "") -> None:
        super().__init__(f"{what}: {code}" + (f": {detail}" if detail else ""))
        self.code = code
        self.parts = (what, code, detail)


def call(what: str, made: Callable[[], T]) -> T:
    """Calls the gateway."""
    try:
        return made()
    except Err as error:
        raise refused(what, error.value) from None


def refused(what: str, value: Any) -> GatewayError:
    """A variant of the interface as an exception: its class is `StoreError_TooLarge`."""
    case = type(value).__name__.rpartition("_")[2]
    code = "".join(f"-{c.lower()}" if c.isupper() else c for c in case).lstrip("-")
    detail = getattr(value, "value", "")
    return GatewayError(what, code, str(detail) if detail != "" else "")


def text(value: bytes) -> str:
    """UTF-8, with a lone surrogate for each byte that is not (PEP 383), so that `raw` makes the same bytes of it: fields of HTTP
    may be anything (RFC 9110 §5.5)."""
    return value.decode("utf-8", "surrogateescape")


def raw(value: str | bytes) -> bytes:
    if not isinstance(value, str):
        return value
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return plain(value).encode()


def plain(value: object) -> str:
    """Text where the gateway takes nothing but text: a byte that is not UTF-8 is the character of its number (ISO 8859-1)."""
    given = str(value)
    try:
        given.encode()
        return given
    except UnicodeEncodeError:
        return "".join(map(_scalar, given))


def _scalar(one: str) -> str:
    code = ord(one)
    if not 0xD800 <= code <= 0xDFFF:
        return one
    return chr(code - 0xDC00) if 0xDC80 <= code <= 0xDCFF else "\ufffd"


class Headers:
    """Fields of a request or a response. Names are case-insensitive."""

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        self._of = of

    def get(self, name: str) -> str | None:
        """The first value."""
        value = self._of.header(plain(name))
        return None if value is None else text(value)

    def get_all(self, name: str) -> list[str]:
        return [text(value) for value in self._of.header_values(plain(name))]

    def append(self, name: str, value: str | bytes) -> None:
        call(name, lambda: self._of.append_header(plain(name), raw(value)))

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str | bytes) -> None:
        """Replaces every value of the name."""
        call(name, lambda: self._of.set_header(plain(name), raw(value)))

    def __delitem__(self, name: str) -> None:
        call(name, lambda: self._of.remove_header(plain(name)))

    def __contains__(self, name: object) -> bool:
        return self._of.header(plain(name)) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((name, text(value)) for name, value in self._of.headers())


class Attributes:
    """Notes that live as long as the exchange, and that later plugins, load balancing and the access log can read."""

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        self._of = of

    def get(self, key: str) -> str | None:
        return self._of.attribute(plain(key))

    def __setitem__(self, key: str, value: str) -> None:
        call(key, lambda: self._of.set_attribute(plain(key), plain(value)))

    def __delitem__(self, key: str) -> None:
        """It is no error if there is none."""
        call(key, lambda: self._of.remove_attribute(plain(key)))


class Request:
    """A request, lent for one phase."""

    __slots__ = ("handle",)

    def __init__(self, handle: Any) -> None:
        #: The gateway's own, for the interfaces that this package has no words for.
        self.handle = handle

    @property
    def id(self) -> str:
        """As in the gateway's logs and in `x-request-id`."""
        return self.handle.id()

    @property
    def method(self) -> str:
        return self.handle.method()

    @method.setter
    def method(self, method: str) -> None:
        call("method", lambda: self.handle.set_method(plain(method)))

    @property
    def scheme(self) -> str:
        return self.handle.scheme()

    @property
    def authority(self) -> str:
        """Host and optional port that the client asked for."""
        return self.handle.authority()

    @property
    def path(self) -> str:
        """Normalised, without the query."""
        return self.handle.path()

    @property
    def query(self) -> str | None:
        return self.handle.query()

    @property
    def target(self) -> str:
        """Path and query."""
        query = self.handle.query()
        return self.handle.path() if query is None else f"{self.handle.path()}?{query}"

    @target.setter
    def target(self, target: str) -> None:
        call("target", lambda: self.handle.set_path_with_query(plain(target)))

    @property
    def original_target(self) -> str:
        """Before any plugin's edit."""
        return self.handle.original_target()

    @property
    def protocol(self) -> str:
        return self.handle.protocol()

    @property
    def client_address(self) -> str:
        """Its IP address."""
        return self.handle.client_address()

    @property
    def received_at(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self.handle.received_at()

    @property
    def route(self) -> str:
        """The name of the route that matched; empty where none did."""
        return self.handle.route()

    @property
    def trace_parent(self) -> str | None:
        """The trace that the request belongs to, as a value of `traceparent` (W3C Trace Context §3.2).

        The upstream gets the same trace identifier.
        """
        return self.handle.trace_parent()

    @property
    def headers(self) -> Headers:
        return Headers(self.handle)

    @property
    def attributes(self) -> Attributes:
        return Attributes(self.handle)

    def path_parameter(self, name: str) -> str | None:
        """What the route's path pattern captured."""
        return self.handle.path_parameter(plain(name))


class Response:
    """A response, lent for one phase."""

    __slots__ = ("handle",)

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    @property
    def status(self) -> int:
        """200 to 599."""
        return self.handle.status()

    @status.setter
    def status(self, status: int) -> None:
        call("status", lambda: self.handle.set_status(status))

    @property
    def headers(self) -> Headers:
        return Headers(self.handle)


def field_lines(fields: Mapping[str, str] | Sequence[tuple[str, str]]) -> list[tuple[str, bytes]]:
    """Fields as the gateway takes them."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return [(plain(name), raw(value)) for name, value in pairs]


@dataclass
class Reply:
    """An answer to the client."""

    status: int
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = field(default_factory=dict)
    body: str | bytes = b""

    @classmethod
    def json(cls, status: int, value: Any, headers: Mapping[str, str] | None = None) -> "Reply":
        """With a value as JSON."""
        return cls(status, {"content-type": "application/json", **(headers or {})}, json.dumps(value))

    def lines(self) -> list[tuple[str, bytes]]:
        return field_lines(self.headers)


def problem(status: int, detail: str, **more: Any) -> Reply:
    """An answer in problem+json (RFC 9457)."""
    body = json.dumps({"status": status, "detail": detail, **more})
    return Reply(status, {"content-type": "application/problem+json"}, body)


@dataclass
class Outcome:
    """How an exchange ended."""

    #: Absent when the client left before a response began.
    status: int | None
    #: Why the gateway itself answered or gave up: `upstream-timeout`, `client-closed`, …
    failure: str | None
    upstream: str | None
    request_bytes: int
    response_bytes: int
    duration_us: int
    upstream_us: int | None
    plugins_us: int
    #: The last states of `on_request_chunk` and `on_response_chunk`.
    request_stream_state: bytes | None
    response_stream_state: bytes | None
