"""Configuration as a dataclass, and its JSON Schema."""

import dataclasses
import json
import types
import typing
from typing import Any, get_type_hints

from mashumaro import DataClassDictMixin
from mashumaro.exceptions import InvalidFieldValue, MissingField
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
        _nested(inner, hints[field.name])
        if "description" in field.metadata:
            inner = {"description": field.metadata["description"], **inner}
        properties[field.name.replace("_", "-")] = inner
    required = [name.replace("_", "-") for name in made.get("required", [])]
    return {**made, "properties": properties, "required": required, "additionalProperties": False}


def _nested(schema: dict[str, Any], hint: Any) -> None:
    """The same for the dataclasses within a type, such as `dict[str, list[Rule]] | None`."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if schema.get("type") == "object" and "properties" in schema:
            schema.update(_as_in_yaml(dict(schema), hint))
        return
    parts = typing.get_args(hint)
    inner = [schema.get("items"), schema.get("additionalProperties"), *schema.get("prefixItems", []), *schema.get("anyOf", [])]
    for part in parts:
        for one in [schema, *inner] if _is_union(hint) else inner:
            if isinstance(one, dict):
                _nested(one, part)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def read(config: type[Config] | None, text: str) -> Config | None:
    """The configuration; raises `ConfigProblem`."""
    if config is None:
        return None
    try:
        return config.from_dict(json.loads(text or "{}"))
    except (InvalidFieldValue, MissingField) as error:
        names = []
        at: BaseException | None = error
        while isinstance(at, (InvalidFieldValue, MissingField)):
            names.append(at.field_name.replace("_", "-"))
            at = at.__cause__ or at.__context__
        raise ConfigProblem("".join(f"/{name}" for name in names), str(error)) from error
