"""What a component exports, of a plugin's class."""

import sys
from typing import Any, ClassVar, Generic, TypeVar

from componentize_py_types import Err
from wit_world.exports import lifecycle

from . import _config
from ._config import Config, ConfigProblem
from ._http import Outcome, Reply, Request, Response

C = TypeVar("C")


class Plugin(Generic[C]):
    """The base of plugins. `config` is the dataclass of the configuration; `Plugin[Config]` is its type for checkers."""

    name: ClassVar[str]
    version: ClassVar[str] = "0.1.0"
    description: ClassVar[str] = ""
    config: ClassVar[type[Config] | None] = None

    def __init__(self, config: C) -> None:
        """Called once with the configuration. Raises `ConfigProblem`."""

    def on_request(self, request: Request) -> Reply | None:
        """Nothing sends the request on; a reply answers it."""
        return None

    def on_response(self, request: Request, response: Response) -> None:
        """Before the client gets the response."""

    def on_complete(self, request: Request, response: Response | None, outcome: Outcome) -> None:
        """However the exchange has ended. Nothing can be changed any more."""


P = TypeVar("P", bound=type[Plugin[Any]])


def export(plugin: P) -> P:
    """Makes the class the plugin of the component that its module becomes."""
    made: list[Plugin[Any]] = []
    schema = _config.schema(plugin.config)

    class Lifecycle:
        def describe(self) -> lifecycle.Manifest:
            return lifecycle.Manifest(plugin.name, plugin.version, plugin.description, schema)

        def configure(self, config_json: str) -> None:
            try:
                made[:] = [plugin(_config.read(plugin.config, config_json))]
            except Exception as error:
                pointer = error.pointer if isinstance(error, ConfigProblem) else ""
                raise Err([lifecycle.ConfigProblem(pointer, _said(error))]) from None

    class RequestFilter:
        def on_request(self, request: Any) -> Any:
            from wit_world.exports.request_filter import Decision_Next, Decision_Respond
            from wit_world.imports import http

            try:
                reply = made[0].on_request(Request(request))
                if reply is None:
                    return Decision_Next()
                body = reply.body.encode() if isinstance(reply.body, str) else reply.body
                return Decision_Respond(http.Reply(reply.status, reply.lines(), body))
            except Exception as error:
                raise Err(_said(error)) from None

    class ResponseFilter:
        def on_response(self, request: Any, response: Any) -> None:
            try:
                made[0].on_response(Request(request), Response(response))
            except Exception as error:
                raise Err(_said(error)) from None

    class Observer:
        def on_complete(self, request: Any, response: Any, outcome: Any) -> None:
            told = Outcome(**{name: getattr(outcome, name) for name in Outcome.__dataclass_fields__})
            made[0].on_complete(Request(request), None if response is None else Response(response), told)

    module = sys.modules[plugin.__module__]
    for phase in (Lifecycle, RequestFilter, ResponseFilter, Observer):
        setattr(module, phase.__name__, phase)
    return plugin


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
