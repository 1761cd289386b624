"""Files that are granted by name: `imports: [files]`."""

from wit_world.imports import files as _files

from ._http import call, plain


def get(name: str) -> bytes:
    """Raises `GatewayError` if it is not granted."""
    return call(name, lambda: _files.get(plain(name)))
