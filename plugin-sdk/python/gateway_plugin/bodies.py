"""Whole bodies: `imports: [bodies]`. The gateway buffers them then, up to the route's limit."""

from wit_world.imports import bodies as _bodies

from ._http import Request, Response, call, raw


def read_request(request: Request) -> bytes:
    return call("body", lambda: _bodies.read_request(request.handle))


def replace_request(request: Request, body: str | bytes) -> None:
    call("body", lambda: _bodies.replace_request(request.handle, raw(body)))


def read_response(response: Response) -> bytes:
    return call("body", lambda: _bodies.read_response(response.handle))


def replace_response(response: Response, body: str | bytes) -> None:
    call("body", lambda: _bodies.replace_response(response.handle, raw(body)))
