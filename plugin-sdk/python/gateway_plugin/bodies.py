"""Replaces whole bodies: `imports: [bodies]`. A body is read by `on_request_body` and `on_response_body`."""

from collections.abc import Mapping, Sequence

from wit_world.imports import bodies as _bodies

from ._http import Request, Response, call, field_lines, raw

Trailers = Mapping[str, str] | Sequence[tuple[str, str]]


def replace_request(request: Request, body: str | bytes, trailers: Trailers = ()) -> None:
    """In the request phase."""
    call("body", lambda: _bodies.replace_request(request.handle, _bodies.Body(raw(body), field_lines(trailers))))


def replace_response(response: Response, body: str | bytes, trailers: Trailers = ()) -> None:
    """In the response phase."""
    call("body", lambda: _bodies.replace_response(response.handle, _bodies.Body(raw(body), field_lines(trailers))))
