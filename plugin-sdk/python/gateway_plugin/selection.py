"""Several values of an exchange that one call reads together, where each property of a request is a call of its own.

    selection = Selection(path="path", user=header("x-user"), plan=attribute("jwt.plan"))  # in `__init__`
    values = selection.read(request)  # in a handler; values["user"] is text, or None if it is missing
"""

from dataclasses import dataclass

from wit_world.imports import http as _http

from . import _arguments as arguments
from ._http import Request, Response
from ._http import text as _text

_MAX_ITEMS = 256
_MAX_NAME_BYTES = 16 * 1024

_PARTS = {
    "request_id": _http.Item_RequestId,
    "method": _http.Item_Method,
    "scheme": _http.Item_Scheme,
    "authority": _http.Item_Authority,
    "path": _http.Item_Path,
    "query": _http.Item_Query,
    "original_target": _http.Item_OriginalTarget,
    "protocol": _http.Item_Protocol,
    "client_address": _http.Item_ClientAddress,
    "route": _http.Item_Route,
    "response_status": _http.Item_ResponseStatus,
}


@dataclass(frozen=True)
class Item:
    """A value with a name of its own."""

    kind: str
    name: str


def header(name: str) -> Item:
    """The first value of a request header."""
    return Item("Header", arguments.text("name", name))


def response_header(name: str) -> Item:
    """The first value of a response header; missing if there is no response."""
    return Item("ResponseHeader", arguments.text("name", name))


def attribute(key: str) -> Item:
    return Item("Attribute", arguments.text("key", key))


def path_parameter(name: str) -> Item:
    return Item("PathParameter", arguments.text("name", name))


class Selection:
    """Up to 256 items, whose names have up to 16 KiB together. A plugin can have 64 selections: create them once, in `__init__`.

    Each argument has the name that its value gets, and is an item of this module or the name of one: `request_id`, `method`, `scheme`,
    `authority`, `path`, `query`, `original_target`, `protocol`, `client_address`, `route`, or `response_status`, which has three digits.
    """

    _LIMIT = arguments.Limit(64, "selections")

    def __init__(self, **items: Item | str) -> None:
        size = sum(len(item.name.encode()) for item in items.values() if isinstance(item, Item))
        if len(items) > _MAX_ITEMS or size > _MAX_NAME_BYTES:
            raise ValueError(f"items must be at most {_MAX_ITEMS}, with names of at most {_MAX_NAME_BYTES} bytes together")
        lowered = [_lowered(name, item) for name, item in items.items()]
        self._names = list(items)
        self._place = self._LIMIT.take()
        self._selection = _http.Selection(lowered)

    def read(self, request: Request, response: Response | None = None) -> dict[str, str | None]:
        """The values by the names of their items; `None` for one that is missing. `response` is present in the response phase."""
        values = self.read_bytes(request, response)
        return {name: None if value is None else _text(value) for name, value in values.items()}

    def read_bytes(self, request: Request, response: Response | None = None) -> dict[str, bytes | None]:
        """The same, with the bytes of the values."""
        handles = (arguments.handle("request", request), arguments.optional_handle("response", response))
        found = self._selection.read(*handles)
        values: dict[str, bytes | None] = {}
        at = 0
        for name, length in zip(self._names, found.lengths):
            values[name] = None if length is None else found.bytes[at : at + length]
            at += length or 0
        return values


def _lowered(name: str, item: Item | str) -> object:
    if isinstance(item, Item):
        return getattr(_http, f"Item_{item.kind}")(item.name)
    return _PARTS[arguments.one_of(f"the item {name}", item, _PARTS)]()
