"""Lines to sinks that are granted by name: `imports: [sinks]`."""

from wit_world.imports import sinks as _sinks

from ._http import call, plain, raw


def write(sink: str, line: str | bytes) -> None:
    """Raises `GatewayError` with `dropped` when the sink's buffer is full."""
    call(sink, lambda: _sinks.write(plain(sink), raw(line)))
