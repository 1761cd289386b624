"""Writes plugins for the gateway.

A plugin is a class with `@export` and a method for each phase that it takes part in, and `exports` in plugin.yaml names the same
phases. A method without its export, or an export without its method, is an error when the component is built. What a method raises is the plugin's failure. What the gateway offers beyond requests and responses is a module each
(`gateway_plugin.store`, `.log`, …), to be named in `imports` of plugin.yaml.
"""

from ._body import Body, BodyDecision, BodyError, Chunk, ChunkResult, read_body, stream_body
from ._config import Config, ConfigProblem, described
from ._http import Attributes, GatewayError, Headers, Outcome, Reply, Request, Response, problem
from ._plugin import Endpoint, Plugin, Timer, export
from .messages import Close, Message, MessageDecision, MessageResult, Sender, ServerSentEvent, stream_messages

__all__ = [
    "Attributes",
    "Body",
    "BodyDecision",
    "BodyError",
    "Chunk",
    "ChunkResult",
    "Close",
    "Config",
    "ConfigProblem",
    "Endpoint",
    "GatewayError",
    "Headers",
    "Message",
    "MessageDecision",
    "MessageResult",
    "Outcome",
    "Plugin",
    "Reply",
    "Request",
    "Response",
    "Sender",
    "ServerSentEvent",
    "Timer",
    "described",
    "export",
    "problem",
    "read_body",
    "stream_body",
    "stream_messages",
]
