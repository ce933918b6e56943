"""Request bodies held against the schemas of a discovery document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.cloud import scalars
from tests.cloud.errors import invalid_fields

Json = dict[str, Any]
SNAKE = re.compile(r"_([a-z0-9])")
# google.api.LaunchStage by number.
LAUNCH_STAGES = ["LAUNCH_STAGE_UNSPECIFIED", "EARLY_ACCESS", "ALPHA", "BETA", "GA", "DEPRECATED"]
LAUNCH_STAGES += ["UNIMPLEMENTED", "PRELAUNCH"]


class Schemas:
    """The schemas of one discovery document."""

    def __init__(self, schemas: Mapping[str, Json]) -> None:
        self._schemas = schemas

    def accept(self, name: str, body: Any, method_id: str) -> Json:
        """Return a body without its read-only fields and with every scalar as Google echoes it.

        Raises CloudError: 400 with one message per unknown, ill-typed or missing field.
        """
        reading = _Reading(self._schemas, method_id)
        accepted: Json = reading.value({"$ref": name}, body, "")
        if reading.faults:
            raise invalid_fields(reading.faults)
        return accepted

    def __getitem__(self, name: str) -> Json:
        return self._schemas[name]

    def resolve(self, schema: Json) -> Json:
        """Return the schema that a reference stands for."""
        return _resolve(self._schemas, schema)


class _Reading:
    """One body being read, with the faults found so far."""

    def __init__(self, schemas: Mapping[str, Json], method_id: str) -> None:
        self._schemas = schemas
        self._method_id = method_id
        self.faults: list[tuple[str, str]] = []

    def value(self, schema: Json, value: Any, where: str) -> Any:
        schema = _resolve(self._schemas, schema)
        kind = schema.get("type", "any")
        if value is None or kind == "any":
            return value
        if kind == "object":
            return self._object(schema, value, where)
        if kind == "array":
            return self._array(schema, value, where)
        return self._scalar(schema, value, where)

    def _object(self, schema: Json, value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            return self._ill_typed("object", value, where)
        value = {_spelled(schema, key): item for key, item in value.items()}
        self._look_for_required(schema, value, where)
        fields = {key: self._field(schema, key, where) for key in value}
        return {
            key: self.value(field, value[key], _below(where, key))
            for key, field in fields.items()
            if field is not None and not field.get("readOnly")
        }

    def _array(self, schema: Json, value: Any, where: str) -> Any:
        if not isinstance(value, list):
            return self._ill_typed("list", value, where)
        return [self.value(schema["items"], item, f"{where}[{index}]") for index, item in enumerate(value)]

    def _scalar(self, schema: Json, value: Any, where: str) -> Any:
        kind, form = schema["type"], schema.get("format")
        if "enum" in schema and isinstance(value, int) and not isinstance(value, bool):
            value = _enum_name(schema["enum"], value)
        try:
            read = scalars.read(kind, form, value)
        except (ValueError, OverflowError):
            return self._ill_typed(scalars.type_name(kind, form), value, where)
        if "enum" in schema and read not in schema["enum"]:
            return self._ill_typed("TYPE_ENUM", value, where)
        return read

    def _field(self, schema: Json, key: str, where: str) -> Json | None:
        field: Json | None = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        if field is None:
            at = f" at '{where}'" if where else ""
            text = f'Invalid JSON payload received. Unknown name "{key}"{at}: Cannot find field.'
            self.faults.append((where, text))
        return field

    def _look_for_required(self, schema: Json, value: Json, where: str) -> None:
        # Only creations: clients leave an emptied list out of an update (the last IAM binding), and Google takes that.
        if not self._method_id.endswith((".insert", ".compose", ".create")):
            return
        for key, field in schema.get("properties", {}).items():
            if _is_required(_below(where, key), field, self._method_id) and value.get(key) is None:
                self.faults.append((_below(where, key), f"Required parameter: {_below(where, key)}"))

    def _ill_typed(self, expected: str, value: Any, where: str) -> None:
        self.faults.append((where, f"Invalid value at '{where}' ({expected}), {json.dumps(value)}"))


def camel_case(name: str) -> str:
    """Return the name that a field has in JSON for the name that it has in its protobuf; Google takes both."""
    return SNAKE.sub(lambda found: found[1].upper(), name)


def _spelled(schema: Json, key: str) -> str:
    known = schema.get("properties", {})
    return camel_case(key) if key not in known and camel_case(key) in known else key


def _is_required(where: str, field: Json, method_id: str) -> bool:
    """Tell whether a creation needs a field: older documents annotate it, newer ones say so in the description.

    The resource's own name is no such field in the newer APIs: it is in the path too, and clients leave it out.
    """
    if "annotations" in field:
        return method_id in field["annotations"].get("required", ())
    return where != "name" and field.get("description", "").startswith("Required. ")


def _enum_name(names: list[str], number: int) -> str | int:
    """Return the name of an enum value, which clients of newer APIs send as its number.

    Documents list the names in the order of their declaration, which is that of their numbers but for LaunchStage.
    """
    ordered = LAUNCH_STAGES if set(names) == set(LAUNCH_STAGES) else names
    return ordered[number] if 0 <= number < len(ordered) else number


def _resolve(schemas: Mapping[str, Json], schema: Json) -> Json:
    return schemas[schema["$ref"]] if "$ref" in schema else schema


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
