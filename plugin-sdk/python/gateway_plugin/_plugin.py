"""What a component exports, of a plugin's class."""

import inspect
import sys
from typing import Any, ClassVar, Generic, TypeVar

from componentize_py_types import Err
from wit_world.exports import lifecycle

from . import _config
from ._config import Config, ConfigProblem
from ._http import Outcome, Reply, Request, Response, plain, raw

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
    for phase in ("on_request", "on_response", "on_complete"):
        function = getattr(plugin, phase)
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise _late(phase)
    made: list[Plugin[Any]] = []
    schema = _config.schema(plugin.config)

    class Lifecycle:
        def describe(self) -> lifecycle.Manifest:
            return lifecycle.Manifest(plugin.name, plugin.version, plugin.description, schema)

        def configure(self, config_json: str) -> None:
            try:
                # What was imported at the build has a state that is the same in every instance.
                if (random := sys.modules.get("random")) is not None:
                    random.seed()
                made[:] = [plugin(_config.read(plugin.config, config_json))]
            except Exception as error:
                pointer = plain(error.pointer) if isinstance(error, ConfigProblem) else ""
                raise Err([lifecycle.ConfigProblem(pointer, _said(error))]) from None

    class RequestFilter:
        def on_request(self, request: Any) -> Any:
            from wit_world.exports.request_filter import Decision_Next, Decision_Respond
            from wit_world.imports import http

            try:
                reply = _finished("on_request", made[0].on_request(Request(request)))
                if reply is None:
                    return Decision_Next()
                return Decision_Respond(http.Reply(reply.status, reply.lines(), raw(reply.body)))
            except Exception as error:
                raise Err(_said(error)) from None

    class ResponseFilter:
        def on_response(self, request: Any, response: Any) -> None:
            try:
                _finished("on_response", made[0].on_response(Request(request), Response(response)))
            except Exception as error:
                raise Err(_said(error)) from None

    class Observer:
        def on_complete(self, request: Any, response: Any, outcome: Any) -> None:
            told = Outcome(**{name: getattr(outcome, name) for name in Outcome.__dataclass_fields__})
            _finished("on_complete", made[0].on_complete(Request(request), None if response is None else Response(response), told))

    module = sys.modules[plugin.__module__]
    for phase in (Lifecycle, RequestFilter, ResponseFilter, Observer):
        setattr(module, phase.__name__, phase)
    return plugin


def _late(phase: str) -> TypeError:
    return TypeError(f"{phase} must not be async or a generator: what it would do after it has returned is never done")


def _finished(phase: str, returned: Any) -> Any:
    """A phase is over when it returns."""
    if returned is None or isinstance(returned, Reply):
        return returned
    if inspect.isawaitable(returned) or inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        raise _late(phase)
    return returned


def _said(error: Exception) -> str:
    return plain(error) or type(error).__name__
