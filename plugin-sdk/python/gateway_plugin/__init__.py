"""Writes plugins for the gateway.

A plugin is a class with `@export` and a method for each phase that it takes part in; `exports` in plugin.yaml names the same
phases. What a method raises is the plugin's failure. What the gateway offers beyond requests and responses is a module each
(`gateway_plugin.store`, `.log`, …), to be named in `imports` of plugin.yaml.
"""

from ._config import Config, ConfigProblem, described
from ._http import Attributes, GatewayError, Headers, Outcome, Reply, Request, Response, problem
from ._plugin import Plugin, export

__all__ = [
    "Attributes",
    "Config",
    "ConfigProblem",
    "GatewayError",
    "Headers",
    "Outcome",
    "Plugin",
    "Reply",
    "Request",
    "Response",
    "described",
    "export",
    "problem",
]
