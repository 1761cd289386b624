"""Requests, responses and replies."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, TypeVar

from componentize_py_types import Err

from . import _arguments as arguments

T = TypeVar("T")


class GatewayError(Exception):
    """What the gateway refused. `code` says why: `forbidden`, `denied`, `too-large`, …"""

    def __init__(self, what: str, code: str, detail: str = "") -> None:
        super().__init__(f"{what}: {code}" + (f": {detail}" if detail else ""))
        self.code = code
        self.parts = (what, code, detail)


def call(what: str, function: Callable[..., T], *arguments: Any) -> T:
    """Calls the gateway."""
    try:
        return function(*arguments)
    except Err as error:
        raise refused(what, error.value) from None


def refused(what: str, value: Any) -> GatewayError:
    """A variant of the interface as an exception: its class is `StoreError_TooLarge`."""
    case = type(value).__name__.rpartition("_")[2]
    code = "".join(f"-{c.lower()}" if c.isupper() else c for c in case).lstrip("-")
    detail = getattr(value, "value", "")
    return GatewayError(what, code, str(detail) if detail != "" else "")


def text(value: bytes) -> str:
    """UTF-8, with a lone surrogate for each byte that is not (PEP 383), of which `data` makes the same bytes again: fields of HTTP
    may be anything (RFC 9110 §5.5)."""
    return value.decode("utf-8", "surrogateescape")


class Headers:
    """Fields of a request or a response. Names are case-insensitive.

    A value may be any bytes. As text, each byte that is not UTF-8 becomes a lone surrogate (PEP 383), from which the same byte is
    written again.
    """

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        self._of = of

    def get(self, name: str) -> str | None:
        """The first value."""
        value = self.get_bytes(name)
        return None if value is None else text(value)

    def get_bytes(self, name: str) -> bytes | None:
        """The first value."""
        return self._of.header(arguments.text("name", name))

    def get_all(self, name: str) -> list[str]:
        return [text(value) for value in self.get_all_bytes(name)]

    def get_all_bytes(self, name: str) -> list[bytes]:
        """All values, in their order."""
        return self._of.header_values(arguments.text("name", name))

    def append(self, name: str, value: str | bytes) -> None:
        name = arguments.text("name", name)
        call(name, self._of.append_header, name, arguments.data("value", value))

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str | bytes) -> None:
        """Replaces every value of the name."""
        name = arguments.text("name", name)
        call(name, self._of.set_header, name, arguments.data("value", value))

    def __delitem__(self, name: str) -> None:
        name = arguments.text("name", name)
        call(name, self._of.remove_header, name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._of.header(arguments.plain(name)) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((name, text(value)) for name, value in self._of.headers())


class Attributes:
    """Values that are attached to the exchange. Later plugins, load balancing and the access log can read them."""

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        self._of = of

    def get(self, key: str) -> str | None:
        return self._of.attribute(arguments.text("key", key))

    def __setitem__(self, key: str, value: str) -> None:
        key = arguments.text("key", key)
        call(key, self._of.set_attribute, key, arguments.text("value", value))

    def __delitem__(self, key: str) -> None:
        """It is no error if there is none."""
        key = arguments.text("key", key)
        call(key, self._of.remove_attribute, key)


class Request:
    """A request, lent for one phase."""

    __slots__ = ("handle",)

    def __init__(self, handle: Any) -> None:
        #: The gateway's own, for interfaces without a module in this package.
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
        call("method", self.handle.set_method, arguments.text("method", method))

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
        call("target", self.handle.set_path_with_query, arguments.text("target", target))

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
        return self.handle.path_parameter(arguments.text("name", name))


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
        call("status", self.handle.set_status, arguments.integer("status", status, 0, 999))

    @property
    def headers(self) -> Headers:
        return Headers(self.handle)


#: Headers or trailers, by name or in their order.
Fields = Mapping[str, str | bytes | Sequence[str | bytes]] | Sequence[tuple[str, str | bytes]]


@dataclass
class Reply:
    """A response that the plugin makes itself."""

    status: int
    headers: Fields = field(default_factory=dict)
    body: str | bytes = b""

    @classmethod
    def json(cls, status: int, value: Any, headers: Mapping[str, str] | None = None) -> "Reply":
        """With a value as JSON."""
        return cls(status, {"content-type": "application/json", **(headers or {})}, json.dumps(value))


def problem(status: int, detail: str, **more: Any) -> Reply:
    """A response in problem+json (RFC 9457)."""
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
    #: The last state of `on_message`.
    message_state: bytes | None
