"""What a component exports, of a plugin's class."""

import functools
import inspect
import json
import operator
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import lifecycle

from . import _arguments as arguments
from . import _config, _imports
from ._config import Config, ConfigProblem
from ._body import Body, BodyDecision, BodyError, Chunk, ChunkResult, body_error, chunk_of, passed
from ._errors import described
from ._http import Outcome, Reply, Request, Response, problem
from .messages import Message, MessageDecision, MessageResult, Sender, message_of, message_result, sender_of

C = TypeVar("C")


@dataclass(frozen=True)
class Endpoint:
    """Requests that a plugin serves itself."""

    #: A pattern as in the gateway's configuration: `/shelves/{shelf}`, `/files/{*rest}`.
    path: str
    #: In upper case; empty for all methods.
    method: str = ""
    #: For people: the name of the call.
    about: str = ""


@dataclass(frozen=True)
class Timer:
    """Work in the background, at intervals."""

    #: Unique among the timers of the plugin; 1 to 64 bytes.
    name: str
    #: From the end of a call to the beginning of the next one: 1 second to 24 hours.
    interval_ms: int


class Plugin(Generic[C]):
    """The base of plugins. `config` is the dataclass of the configuration; `Plugin[Config]` is its type for checkers."""

    name: ClassVar[str]
    version: ClassVar[str] = "0.1.0"
    description: ClassVar[str] = ""
    config: ClassVar[type[Config] | None] = None

    def __init__(self, config: C) -> None:
        """Called once with the configuration. Raises `ConfigProblem`."""

    def on_request(self, request: Request) -> Reply | BodyDecision | None:
        """`request-filter`. Nothing sends the request on; a reply answers it."""

    def on_request_body(self, request: Request, body: Body) -> Reply | BodyDecision | None:
        """`request-body-filter`: after `on_request` has returned `read_body()`, or for every request without `on_request`."""

    def on_request_body_error(self, request: Request, error: BodyError) -> Reply | BodyDecision | None:
        """Called instead of `on_request_body` if the body could not be read.

        Unless it is overridden, the client gets 413 for a body that is too large and 400 for one that was interrupted or is
        invalid; other errors are the plugin's failure. This is the rule in the SDKs of all languages.
        """
        if error.code == "too-large":
            return problem(413, f"the request body is larger than {error.limit} bytes")
        if error.code in ("interrupted", "invalid"):
            return problem(400, "the request body is incomplete or invalid")
        raise error

    def on_request_chunk(self, chunk: Chunk) -> ChunkResult:
        """`request-stream`: after `on_request` has returned `stream_body()`."""
        raise NotImplementedError

    def on_response(self, request: Request, response: Response) -> BodyDecision | MessageDecision | None:
        """`response-filter`. Nothing sends the response on."""

    def on_response_body(self, request: Request, response: Response, body: Body) -> BodyDecision | MessageDecision | None:
        """`response-body-filter`: after `on_response` has returned `read_body()`, or for every response without `on_response`."""

    def on_response_body_error(self, request: Request, response: Response, error: BodyError) -> BodyDecision | MessageDecision | None:
        """Called instead of `on_response_body` if the body could not be read. Unless it is overridden, the plugin fails."""
        raise error

    def on_response_chunk(self, chunk: Chunk) -> ChunkResult:
        """`response-stream`: after `on_response` has returned `stream_body()`."""
        raise NotImplementedError

    def on_message(self, message: Message, sender: Sender, state: bytes) -> MessageResult | None:
        """`message-filter`: each message, after `on_response` has returned `stream_messages()`. `None` passes it on unchanged.

        `state` is what `stream_messages` or the previous call gave.
        """
        raise NotImplementedError

    def on_complete(self, request: Request, response: Response | None, outcome: Outcome) -> None:
        """`observer`. However the exchange has ended. Nothing can be changed any more."""

    def active_phases(self) -> Iterable[Literal["request", "response", "completion"]]:
        """`active-phases`. The phases that are called with this configuration; one that is left out costs nothing."""
        raise NotImplementedError

    def endpoints(self) -> Iterable[Endpoint]:
        """`catalogue`. The requests that the plugin serves itself.

        The operator can make routes of them (`match: { from-plugin: NAME }`).
        """
        raise NotImplementedError

    def openapi(self) -> dict[str, Any] | None:
        """An OpenAPI 3.1 document of the endpoints, for `gateway openapi`."""

    def timers(self) -> Iterable[Timer]:
        """`timers`. Up to 16 timers, which follow from the configuration alone. Needs `on_timer`."""
        raise NotImplementedError

    def on_timer(self, name: str) -> None:
        """`timers`. Called without a request, once per gateway process.

        The first call is made within a second after the configuration becomes active, and the next ones after each interval. Calls of
        one timer never overlap. What it raises is counted and logged, and the next call is made after the interval.
        """


#: The handlers of a plugin, the class that a component exports for each, and the export of plugin.yaml.
_PHASES = {
    "on_request": ("RequestFilter", "request-filter"),
    "on_request_body": ("RequestBodyFilter", "request-body-filter"),
    "on_request_chunk": ("RequestStream", "request-stream"),
    "on_response": ("ResponseFilter", "response-filter"),
    "on_response_body": ("ResponseBodyFilter", "response-body-filter"),
    "on_response_chunk": ("ResponseStream", "response-stream"),
    "on_message": ("MessageFilter", "message-filter"),
    "on_complete": ("Observer", "observer"),
    "active_phases": ("ActivePhases", "active-phases"),
    "endpoints": ("Catalogue", "catalogue"),
    "on_timer": ("Timers", "timers"),
}
#: What is called beside or in place of a handler, and so needs it.
_IN_PLACE_OF = {
    "on_request_body_error": "on_request_body",
    "on_response_body_error": "on_response_body",
    "openapi": "endpoints",
    "timers": "on_timer",
    "on_timer": "timers",
}
_ACTIVE = ("request", "response", "completion")

P = TypeVar("P", bound=type[Plugin[Any]])


def export(plugin: P) -> P:
    """Makes the class the plugin of the component that its module becomes."""
    _check(plugin)
    _imports.import_ahead()
    made: list[Plugin[Any]] = []
    schema = _config.schema(plugin.config)

    class Lifecycle:
        def describe(self) -> lifecycle.Manifest:
            return lifecycle.Manifest(plugin.name, plugin.version, plugin.description, schema)

        def configure(self, config_json: str) -> None:
            try:
                _imports.refuse_later()
                # What was imported at the build has a state that is the same in every instance.
                if (random := sys.modules.get("random")) is not None:
                    random.seed()
                made[:] = [plugin(_config.read(plugin.config, config_json))]
            except BaseException as error:
                raise Err([_problem(error)]) from None

    class RequestFilter:
        def on_request(self, request: Any) -> Any:
            try:
                return _decision("on_request", made[0].on_request(Request(request)), False)
            except BaseException as error:
                raise Err(described(error)) from None

    class RequestBodyFilter:
        def on_request_body(self, request: Any, body: Any) -> Any:
            try:
                if isinstance(body, Err):
                    returned = made[0].on_request_body_error(Request(request), body_error(body.value))
                    return _decision("on_request_body_error", returned, True)
                return _decision("on_request_body", made[0].on_request_body(Request(request), Body.of(body.value)), True)
            except BaseException as error:
                raise Err(described(error)) from None

    class RequestStream:
        def on_request_chunk(self, chunk: Any) -> Any:
            try:
                returned = _finished("on_request_chunk", made[0].on_request_chunk(chunk_of(chunk)))
                return passed("on_request_chunk", chunk, returned)
            except BaseException as error:
                raise Err(described(error)) from None

    class ResponseFilter:
        def on_response(self, request: Any, response: Any) -> Any:
            try:
                return _response_decision("on_response", made[0].on_response(Request(request), Response(response)), False)
            except BaseException as error:
                raise Err(described(error)) from None

    class ResponseBodyFilter:
        def on_response_body(self, request: Any, response: Any, body: Any) -> Any:
            lent = (Request(request), Response(response))
            try:
                if isinstance(body, Err):
                    returned = made[0].on_response_body_error(*lent, body_error(body.value))
                    return _response_decision("on_response_body_error", returned, True)
                return _response_decision("on_response_body", made[0].on_response_body(*lent, Body.of(body.value)), True)
            except BaseException as error:
                raise Err(described(error)) from None

    class ResponseStream:
        def on_response_chunk(self, chunk: Any) -> Any:
            try:
                returned = _finished("on_response_chunk", made[0].on_response_chunk(chunk_of(chunk)))
                return passed("on_response_chunk", chunk, returned)
            except BaseException as error:
                raise Err(described(error)) from None

    class MessageFilter:
        def on_message(self, sender: Any, message: Any, state: bytes) -> Any:
            try:
                returned = _finished("on_message", made[0].on_message(message_of(message), sender_of(sender), state))
                return message_result("on_message", returned)
            except BaseException as error:
                raise Err(described(error)) from None

    class Observer:
        def on_complete(self, request: Any, response: Any, outcome: Any) -> None:
            told = Outcome(**{name: getattr(outcome, name) for name in Outcome.__dataclass_fields__})
            _finished("on_complete", made[0].on_complete(Request(request), None if response is None else Response(response), told))

    class ActivePhases:
        def phases(self) -> Any:
            from wit_world.exports import active_phases

            active = [arguments.one_of("each active phase", phase, _ACTIVE) for phase in made[0].active_phases()]
            flags = active_phases.PhaseSet
            return functools.reduce(operator.or_, (flags[phase.upper()] for phase in active), flags(0))

    class Catalogue:
        def endpoints(self) -> Any:
            from wit_world.exports import catalogue

            return [
                catalogue.Endpoint(
                    arguments.text("method", endpoint.method), arguments.text("path", endpoint.path), arguments.text("about", endpoint.about)
                )
                for endpoint in made[0].endpoints()
            ]

        def openapi(self) -> str:
            document = made[0].openapi()
            return "" if document is None else json.dumps(document)

    class Timers:
        def timers(self) -> Any:
            from wit_world.exports import timers

            return [
                timers.Timer(arguments.text("name", timer.name), arguments.integer("interval_ms", timer.interval_ms, most=arguments.MAX_U64))
                for timer in made[0].timers()
            ]

        def on_timer(self, name: str) -> None:
            try:
                _finished("on_timer", made[0].on_timer(name))
            except BaseException as error:
                raise Err(described(error)) from None

    module = sys.modules[plugin.__module__]
    phases = (ActivePhases, Catalogue, Timers, RequestFilter, RequestBodyFilter, RequestStream, ResponseFilter, ResponseBodyFilter, ResponseStream, MessageFilter, Observer)
    for phase in (Lifecycle, *phases):
        setattr(module, phase.__name__, phase)
    return plugin


def _check(plugin: type[Plugin[Any]]) -> None:
    """Handlers that would never be called are errors when the component is built: `wit_world.exports` has what plugin.yaml exports."""
    for handler in (*_PHASES, *_IN_PLACE_OF):
        function = getattr(plugin, handler)
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise _late(handler)
    wrong = []
    for handler, (name, phase) in _PHASES.items():
        is_defined = _defines(plugin, handler)
        is_exported = hasattr(exports, name)
        if is_defined and not is_exported:
            wrong.append(f"{handler} is defined, but plugin.yaml does not export {phase}")
        if is_exported and not is_defined:
            wrong.append(f"plugin.yaml exports {phase}, but {handler} is not defined")
    for handler, other in _IN_PLACE_OF.items():
        if _defines(plugin, handler) and not _defines(plugin, other):
            wrong.append(f"{handler} is defined, but {other} is not")
    if wrong:
        raise TypeError("; ".join(wrong))


def _defines(plugin: type[Plugin[Any]], handler: str) -> bool:
    return getattr(plugin, handler) is not getattr(Plugin, handler)


def _decision(handler: str, returned: Any, is_body_read: bool) -> Any:
    """What a request handler returned, as the gateway takes it."""
    from wit_world.imports import http

    _finished(handler, returned)
    if returned is None:
        return http.Decision_Next()
    if isinstance(returned, BodyDecision):
        if returned.state is not None:
            return http.Decision_StreamBody(returned.state)
        return http.Decision_ReadBody() if not is_body_read else _read_twice(handler)
    if not isinstance(returned, Reply):
        raise TypeError(f"{handler} must return a Reply, read_body(), stream_body() or None, not {type(returned).__name__}")
    status = arguments.integer("status", returned.status, 0, 999)
    headers = arguments.field_lines("headers", returned.headers)
    return http.Decision_Respond(http.Reply(status, headers, arguments.data("body", returned.body)))


def _response_decision(handler: str, returned: Any, is_body_read: bool) -> Any:
    """What a response handler returned, as the gateway takes it."""
    from wit_world.imports import http

    _finished(handler, returned)
    if returned is None:
        return http.ResponseDecision_Next()
    if isinstance(returned, MessageDecision):
        return http.ResponseDecision_StreamMessages(returned.state)
    if not isinstance(returned, BodyDecision):
        raise TypeError(f"{handler} returned something else than read_body(), stream_body() or stream_messages(): a plugin cannot respond in the response phase")
    if returned.state is not None:
        return http.ResponseDecision_StreamBody(returned.state)
    return http.ResponseDecision_ReadBody() if not is_body_read else _read_twice(handler)


def _read_twice(handler: str) -> None:
    raise TypeError(f"{handler} returned read_body(): the body has been read already")


def _late(phase: str) -> TypeError:
    return TypeError(f"{phase} must not be async or a generator: what it would do after it has returned is never done")


def _finished(phase: str, returned: Any) -> Any:
    """A phase is over when it returns."""
    if returned is None or isinstance(returned, (Reply, BodyDecision, ChunkResult, MessageDecision, MessageResult)):
        return returned
    if inspect.isawaitable(returned) or inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        raise _late(phase)
    return returned


def _problem(error: BaseException) -> lifecycle.ConfigProblem:
    """The message alone if the plugin says what is wrong, and else where the exception comes from."""
    if isinstance(error, ConfigProblem):
        return lifecycle.ConfigProblem(arguments.plain(error.pointer), arguments.plain(error))
    return lifecycle.ConfigProblem("", described(error))
