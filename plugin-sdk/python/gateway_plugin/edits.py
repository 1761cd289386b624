"""Edits that one call applies together, where each change of a request is a call of its own. Create a list once, in `__init__`.

In the request phase, edits of the response are kept until the response reaches this plugin. So a plugin whose response headers depend
only on the request needs no response phase.
"""

from dataclasses import dataclass
from typing import Any

from componentize_py_types import Err
from wit_world.imports import http as _http

from . import _arguments as arguments
from ._http import Request, Response, refused


@dataclass(frozen=True)
class Edit:
    """One edit. Its value comes with each `apply`, unless it is given here."""

    kind: str
    name: str
    value: bytes | None = None

    def _lowered(self) -> Any:
        case = getattr(_http, f"Edit_{self.kind}")
        return case(self.name) if self.kind.startswith("Remove") else case(_http.NamedValue(self.name, self.value))


def _edit(kind: str, name: str, value: str | bytes | None = None) -> Edit:
    return Edit(kind, arguments.text("name", name), None if value is None else arguments.data("value", value))


def set_header(name: str, value: str | bytes | None = None) -> Edit:
    """Replaces all values; removes the header if the value is missing."""
    return _edit("SetHeader", name, value)


def append_header(name: str, value: str | bytes | None = None) -> Edit:
    return _edit("AppendHeader", name, value)


def remove_header(name: str) -> Edit:
    return _edit("RemoveHeader", name)


def set_response_header(name: str, value: str | bytes | None = None) -> Edit:
    """Replaces all values; removes the header if the value is missing."""
    return _edit("SetResponseHeader", name, value)


def append_response_header(name: str, value: str | bytes | None = None) -> Edit:
    return _edit("AppendResponseHeader", name, value)


def remove_response_header(name: str) -> Edit:
    return _edit("RemoveResponseHeader", name)


def default_response_header(name: str, value: str | bytes | None = None) -> Edit:
    """Sets the header if the response has none of that name."""
    return _edit("DefaultResponseHeader", name, value)


def join_response_header(name: str, value: str | bytes | None = None) -> Edit:
    """Adds a token to a list such as `vary`, unless the list has it or has `*`."""
    return _edit("JoinResponseHeader", name, value)


def set_attribute(key: str, value: str | bytes | None = None) -> Edit:
    return _edit("SetAttribute", key, value)


def remove_attribute(key: str) -> Edit:
    return _edit("RemoveAttribute", key)


_MAX_EDITS = 256
_MAX_BYTES = 64 * 1024


class Edits:
    """Up to 256 edits, with names and values of up to 64 KiB together. A plugin can have 16 lists."""

    _LIMIT = arguments.Limit(16, "lists of edits")

    def __init__(self, *edits: Edit) -> None:
        for edit in edits:
            if not isinstance(edit, Edit):
                raise TypeError(f"each edit must be an Edit, such as set_header(name), not {type(edit).__name__}")
        size = sum(len(edit.name.encode()) + len(edit.value or b"") for edit in edits)
        if len(edits) > _MAX_EDITS or size > _MAX_BYTES:
            raise ValueError(f"edits must be at most {_MAX_EDITS}, with names and values of at most {_MAX_BYTES} bytes together")
        self._names = [edit.name for edit in edits]
        self._place = self._LIMIT.take()
        self._edits = _http.Edits([edit._lowered() for edit in edits])

    def apply(self, request: Request, response: Response | None, *values: str | bytes | None) -> None:
        """Applies them in their order, with the values of the edits that have none of their own; `None` is a missing one.

        `response` is present in the response phase. Raises `GatewayError` if an edit is refused; the others are applied.
        """
        handles = (arguments.handle("request", request), arguments.optional_handle("response", response))
        parts = [None if value is None else arguments.data(f"value {at}", value) for at, value in enumerate(values, 1)]
        lengths = [None if part is None else len(part) for part in parts]
        given = _http.Values(b"".join(part or b"" for part in parts), lengths)
        try:
            self._edits.apply(*handles, given)
        except Err as error:
            raise refused(self._names[error.value.index], error.value.error) from None
