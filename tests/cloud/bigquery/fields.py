"""The fields of a schema, by the names that their types have in the API and in GoogleSQL."""

from __future__ import annotations

from tests.cloud.schemas import Json

# A field's type may have two names: https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema
SYNONYMS = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}


def name_of(field: Json) -> str:
    """Return the type of a table's field by the name that GoogleSQL gives it."""
    return SYNONYMS.get(field["type"], field["type"])


def fields_of(table: Json) -> list[Json]:
    """Return the fields of a table, as the API describes it."""
    fields: list[Json] = (table.get("schema") or {}).get("fields") or []
    return fields
