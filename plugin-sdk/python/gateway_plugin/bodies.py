"""Replaces whole bodies: `imports: [bodies]`. A body is read by `on_request_body` and `on_response_body`."""

from typing import Any

from wit_world.imports import bodies as _bodies

from . import _arguments as arguments
from ._http import Fields, Request, Response, call


def replace_request(request: Request, body: str | bytes, trailers: Fields = ()) -> None:
    """In the request phase."""
    call("body", _bodies.replace_request, arguments.handle("request", request), _body(body, trailers))


def replace_response(response: Response, body: str | bytes, trailers: Fields = ()) -> None:
    """In the response phase."""
    call("body", _bodies.replace_response, arguments.handle("response", response), _body(body, trailers))


def _body(body: str | bytes, trailers: Fields) -> Any:
    return _bodies.Body(arguments.data("body", body), arguments.field_lines("trailers", trailers))
