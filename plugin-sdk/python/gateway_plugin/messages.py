"""Messages of WebSockets and events of event streams."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from . import _arguments as arguments


@dataclass
class ServerSentEvent:
    """An event of an event stream. Bytes that are not UTF-8 are U+FFFD."""

    #: Lines with LF between them.
    data: str
    #: Without line ends and NUL; `None` if the event has none.
    id: str | None = None
    #: The field `event`, without line ends; an event without it has the type `message`.
    name: str | None = None


#: A text message, a binary message, or an event.
Message = str | bytes | ServerSentEvent

#: The side that a message comes from.
Sender = Literal["client", "upstream"]


@dataclass
class Close:
    """Why a WebSocket is closed (RFC 6455 §7.4)."""

    #: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
    code: int
    #: Up to 123 bytes.
    reason: str = ""


@dataclass
class MessageResult:
    """What becomes of a message."""

    #: What goes on in its place: an empty list drops it, `None` passes it on unchanged.
    output: Iterable[Message] | None = None
    #: Messages to the sender. The upstream of an event stream takes none.
    replies: Iterable[Message] = field(default_factory=list)
    #: Closes the WebSocket to both sides, or ends the event stream, after output and replies.
    close: Close | None = None
    #: The new state, up to 64 KiB; the present one is kept if there is none.
    state: str | bytes | None = None


@dataclass(frozen=True)
class MessageDecision:
    """What `stream_messages` returns."""

    state: bytes


def stream_messages(state: str | bytes = b"") -> MessageDecision:
    """Continues, and passes each message through `on_message`, which gets this state (up to 64 KiB) with the first one.

    Valid for a 101 that accepts a WebSocket handshake, and for a response with `content-type: text/event-stream` and without
    `content-encoding`.
    """
    return MessageDecision(arguments.data("state", state))


def message_of(message: Any) -> Message:
    from wit_world.exports import message_filter as raw

    if isinstance(message, raw.Message_Event):
        return ServerSentEvent(message.value.data, message.value.id, message.value.name)
    return message.value


def sender_of(sender: Any) -> Sender:
    return "client" if sender.name == "CLIENT" else "upstream"


def message_result(handler: str, result: Any) -> Any:
    """What a handler has done with a message, as the gateway takes it."""
    from wit_world.exports import message_filter as raw

    if result is None:
        result = MessageResult()
    if not isinstance(result, MessageResult):
        raise TypeError(f"{handler} must return a MessageResult, or None to pass the message on, not {type(result).__name__}")

    def sent(parameter: str, messages: Iterable[Message]) -> list[Any]:
        if isinstance(messages, (str, bytes)):
            raise TypeError(f"{parameter} must be a list of messages, not one message")
        return [one(f"each of {parameter}", message) for message in messages]

    def one(parameter: str, message: Message) -> Any:
        if isinstance(message, str):
            return raw.Message_Text(arguments.plain(message))
        if isinstance(message, (bytes, bytearray, memoryview)):
            return raw.Message_Binary(bytes(message))
        if not isinstance(message, ServerSentEvent):
            raise TypeError(f"{parameter} must be a str, bytes or a ServerSentEvent, not {type(message).__name__}")

        def optional(value: str | None) -> str | None:
            return None if value is None else arguments.plain(value)

        return raw.Message_Event(raw.ServerSentEvent(optional(message.id), optional(message.name), arguments.plain(message.data)))

    close = result.close
    if close is not None:
        close = raw.Close(arguments.integer("code", close.code, 0, 65535), arguments.plain(close.reason))
    return raw.MessageResult(
        None if result.output is None else sent("output", result.output),
        sent("replies", result.replies),
        close,
        None if result.state is None else arguments.data("state", result.state),
    )
