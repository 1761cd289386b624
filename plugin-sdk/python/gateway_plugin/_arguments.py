"""Checks of what a plugin passes to the gateway.

The bindings trap on a value of another type, which costs the instance and says nothing about the cause. These checks raise an
exception that names the parameter.
"""

from collections.abc import Iterable, Mapping
from typing import Any

MAX_U32 = 2**32 - 1
MAX_U64 = 2**64 - 1
MIN_S64, MAX_S64 = -(2**63), 2**63 - 1

Data = str | bytes | bytearray | memoryview


def _wrong(parameter: str, expected: str, value: object) -> TypeError:
    return TypeError(f"{parameter} must be {expected}, not {type(value).__name__}")


def text(parameter: str, value: object) -> str:
    """Text where the gateway takes nothing but text; numbers are written as Python writes them."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, (int, float)):
        return str(value)
    raise _wrong(parameter, "a str", value)


def data(parameter: str, value: object) -> bytes:
    """Bytes, or text as UTF-8, and what was read as a lone surrogate as the byte that it was."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return plain(value).encode()
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (int, float)):
        return str(value).encode()
    raise _wrong(parameter, "str or bytes", value)


def binary(parameter: str, value: object) -> bytes:
    """Bytes, where text would be a mistake."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise _wrong(parameter, "bytes", value)


def integer(parameter: str, value: object, least: int = 0, most: int = MAX_U32) -> int:
    """An integer within a range; a float only if it is one, such as `1e3`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(parameter, "an int", value)
    if isinstance(value, float) and not value.is_integer() or not least <= value <= most:
        raise ValueError(f"{parameter} must be an integer from {least} to {most}, not {value}")
    return int(value)


def millis(parameter: str, value: object) -> int | None:
    """A duration in milliseconds, or `None` if it is left out."""
    return None if value is None else integer(parameter, value, most=MAX_U64)


def number(parameter: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(parameter, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{parameter} must be a number that a float can hold, not {value}") from None


def boolean(parameter: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(parameter, "a bool", value)
    return value


def one_of(parameter: str, value: object, names: Iterable[str]) -> str:
    """One of several names."""
    if isinstance(value, str) and value in names:
        return value
    raise ValueError(f"{parameter} must be one of {', '.join(names)}, not {value!r}")


def field_lines(parameter: str, fields: object) -> list[tuple[str, bytes]]:
    """Fields as the gateway takes them: of a mapping, whose values may be lists, or of pairs."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise _wrong(parameter, "a mapping or a list of pairs", fields)
    lines = []
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise _wrong(f"each of {parameter}", "a pair", pair)
        name = text(f"the name of a header in {parameter}", pair[0])
        values = pair[1] if isinstance(pair[1], (list, tuple)) else [pair[1]]
        lines += [(name, data(f"the value of {name} in {parameter}", value)) for value in values]
    return lines


def labels(given: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(plain(name), text(f"the label {name}", value)) for name, value in given.items()]


def handle(parameter: str, value: object) -> Any:
    """The gateway's handle of a request or a response that a phase got."""
    found = getattr(value, "handle", None)
    if found is None:
        raise _wrong(parameter, f"the {parameter} of the phase", value)
    return found


def optional_handle(parameter: str, value: object) -> Any:
    return None if value is None else handle(parameter, value)


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


class Limit:
    """How many lists an instance can keep in the gateway: more would be a trap."""

    def __init__(self, most: int, what: str) -> None:
        self.most, self.what, self.taken = most, what, 0

    def take(self) -> "Place":
        if self.taken >= self.most:
            raise ValueError(f"a plugin can have {self.most} {self.what}: create them once, in `__init__`")
        return Place(self)


class Place:
    """One of them, until it is dropped."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        limit.taken += 1

    def __del__(self) -> None:
        self._limit.taken -= 1
