"""Configuration as a dataclass, and its JSON Schema."""

import dataclasses
import json
import typing
from typing import Any, get_type_hints

from mashumaro import DataClassDictMixin
from mashumaro.exceptions import InvalidFieldValue
from mashumaro.jsonschema import build_json_schema


class ConfigProblem(Exception):
    """What is wrong with the configuration, at a JSON Pointer (RFC 6901): raised by a plugin's `__init__`."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


class Config(DataClassDictMixin):
    """The base of dataclasses for configuration. `name_header` is `name-header` in YAML."""

    @classmethod
    def __pre_deserialize__(cls, values: dict[Any, Any]) -> dict[Any, Any]:
        return {str(name).replace("-", "_"): value for name, value in values.items()}


def described(
    description: str,
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
) -> Any:
    """A dataclass field with a text for its JSON Schema."""
    metadata = {"description": description}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def schema(config: type[Config] | None) -> str:
    """JSON Schema (2020-12) of a configuration; empty without one."""
    if config is None:
        return ""
    made = build_json_schema(config).to_dict()
    return json.dumps(_as_in_yaml(made, config))


def _as_in_yaml(made: dict[str, Any], config: type) -> dict[str, Any]:
    hints = get_type_hints(config)
    properties = {}
    for field in dataclasses.fields(config):
        inner = made.get("properties", {}).get(field.name, {})
        for part in (hints[field.name], *typing.get_args(hints[field.name])):
            if isinstance(part, type) and dataclasses.is_dataclass(part):
                _nested(inner, part)
        if "description" in field.metadata:
            inner = {"description": field.metadata["description"], **inner}
        properties[field.name.replace("_", "-")] = inner
    required = [name.replace("_", "-") for name in made.get("required", [])]
    return {**made, "properties": properties, "required": required, "additionalProperties": False}


def _nested(schema: dict[str, Any], config: type) -> None:
    if schema.get("type") == "object" and "properties" in schema:
        schema.update(_as_in_yaml(dict(schema), config))
        return
    for inner in [schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", [])]:
        if isinstance(inner, dict):
            _nested(inner, config)


def read(config: type[Config] | None, text: str) -> Config | None:
    """The configuration; raises `ConfigProblem`."""
    if config is None:
        return None
    try:
        return config.from_dict(json.loads(text or "{}"))
    except InvalidFieldValue as error:
        raise ConfigProblem(f"/{error.field_name.replace('_', '-')}", str(error)) from error
