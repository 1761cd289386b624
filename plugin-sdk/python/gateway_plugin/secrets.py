"""Secrets that are granted by name: `imports: [secrets]`."""

from wit_world.imports import secrets as _secrets

from ._http import call, plain


def get(name: str) -> bytes:
    """Raises `GatewayError` if it is not granted or missing."""
    return call(name, lambda: _secrets.get(plain(name)))
