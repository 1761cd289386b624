"""Choosing where a request goes, for canaries by user, tenants or models: `imports: [upstreams]`."""

from wit_world.imports import upstreams as _upstreams

from . import _arguments as arguments
from ._http import Request, call


def select(request: Request, name: str) -> None:
    """In the request phase: sends the request to this upstream of the configuration in place of the route's.

    The operator grants it by name. The route stays the same. The last selection counts, also that of a later plugin. Raises
    `GatewayError` with the code `denied`, `unavailable` or `other`.
    """
    call(str(name), _upstreams.select, arguments.handle("request", request), arguments.text("name", name))
