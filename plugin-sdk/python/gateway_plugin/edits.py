"""Changes that are made in one call instead of one for each. Made known once, such as in `__init__`, and kept.

In the request phase, headers of the response are changed later: when the response passes the plugin on its way back. A plugin
that knows by the request alone what is to become of them needs no response phase, which would be one more call.
"""

from dataclasses import dataclass
from typing import Any

from componentize_py_types import Err
from wit_world.imports import http as _http

from ._http import Request, Response, plain, raw, refused


@dataclass(frozen=True)
class Edit:
    """One change. Its value comes with each `apply`, unless it is given here."""

    kind: str
    name: str
    value: str | bytes | None = None

    def _lowered(self) -> Any:
        case = getattr(_http, f"Edit_{self.kind}")
        if self.kind.startswith("Remove"):
            return case(plain(self.name))
        return case(_http.NamedValue(plain(self.name), None if self.value is None else raw(self.value)))


def set_header(name: str, value: str | bytes | None = None) -> Edit:
    """Replaces every value; removes the header where the value is missing."""
    return Edit("SetHeader", name, value)


def append_header(name: str, value: str | bytes | None = None) -> Edit:
    return Edit("AppendHeader", name, value)


def remove_header(name: str) -> Edit:
    return Edit("RemoveHeader", name)


def set_response_header(name: str, value: str | bytes | None = None) -> Edit:
    """Replaces every value; removes the header where the value is missing."""
    return Edit("SetResponseHeader", name, value)


def append_response_header(name: str, value: str | bytes | None = None) -> Edit:
    return Edit("AppendResponseHeader", name, value)


def remove_response_header(name: str) -> Edit:
    return Edit("RemoveResponseHeader", name)


def default_response_header(name: str, value: str | bytes | None = None) -> Edit:
    """Sets the header where the response has none of that name."""
    return Edit("DefaultResponseHeader", name, value)


def join_response_header(name: str, value: str | bytes | None = None) -> Edit:
    """Adds a member to a list of tokens, such as that of `vary`, unless it is there, or `*` is."""
    return Edit("JoinResponseHeader", name, value)


def set_attribute(key: str, value: str | bytes | None = None) -> Edit:
    return Edit("SetAttribute", key, value)


def remove_attribute(key: str) -> Edit:
    return Edit("RemoveAttribute", key)


class Edits:
    """Up to 256 changes; a plugin may have 16 such lists."""

    def __init__(self, *edits: Edit) -> None:
        self._names = [edit.name for edit in edits]
        self._edits = _http.Edits([edit._lowered() for edit in edits])

    def apply(self, request: Request, response: Response | None, *values: str | bytes | None) -> None:
        """Applies them in their order, with the values of the edits that have none of their own; `None` is a missing one.

        `response` is present in the response phase. Raises `GatewayError` if an edit is refused; the others are applied.
        """
        parts = [None if value is None else raw(value) for value in values]
        lengths = [None if part is None else len(part) for part in parts]
        given = _http.Values(b"".join(part or b"" for part in parts), lengths)
        try:
            self._edits.apply(request.handle, response.handle if response else None, given)
        except Err as error:
            raise refused(self._names[error.value.index], error.value.error) from None
