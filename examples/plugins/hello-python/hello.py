"""Lets in who has a key, and tells the upstream who it is."""

from dataclasses import dataclass

from gateway_plugin import Config, ConfigProblem, Plugin, Reply, Request, described, export, problem


@dataclass
class HelloConfig(Config):
    keys: dict[str, str] = described("The clients' names by their keys, as they send them in `x-api-key`.")


@export
class Hello(Plugin[HelloConfig]):
    name = "hello"
    description = "Lets in who has a key, and tells the upstream who it is"
    config = HelloConfig

    def __init__(self, config: HelloConfig) -> None:
        if not config.keys:
            raise ConfigProblem("/keys", "needs at least one key")
        self.names = config.keys

    def on_request(self, request: Request) -> Reply | None:
        name = self.names.get(request.headers.get("x-api-key") or "")
        if name is None:
            return problem(401, "unknown API key")
        request.headers["x-client"] = name
        return None
