"""Lines to sinks that are granted by name: `imports: [sinks]`."""

from wit_world.imports import sinks as _sinks

from . import _arguments as arguments
from ._http import call


def write(sink: str, line: str | bytes) -> None:
    """Raises `GatewayError` with `dropped` when the sink's buffer is full."""
    name = arguments.text("sink", sink)
    call(name, _sinks.write, name, arguments.data("line", line))
