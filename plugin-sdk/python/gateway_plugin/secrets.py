"""Secrets that are granted by name: `imports: [secrets]`."""

from wit_world.imports import secrets as _secrets

from . import _arguments as arguments
from ._http import call
from ._http import text as _text


def get(name: str) -> bytes:
    """Raises `GatewayError` if it is not granted or missing."""
    name = arguments.text("name", name)
    return call(name, _secrets.get, name)


def get_text(name: str) -> str:
    """Bytes that are not UTF-8 become lone surrogates, as in header values."""
    return _text(get(name))
