"""BigQuery's types: of fields, of what sqlglot infers, of what duckdb stores (a TIMESTAMP without zone, in UTC)."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from tests.cloud.bigquery.fields import SYNONYMS, name_of
from tests.cloud.errors import unimplemented
from tests.cloud.schemas import Json

LEGACY = {name: old for old, name in SYNONYMS.items()}
STORED = {
    "STRING": "VARCHAR",
    "INT64": "BIGINT",
    "FLOAT64": "DOUBLE",
    "BOOL": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMP",
    "DATE": "DATE",
    "JSON": "VARCHAR",
}
_T = exp.DType
INFERRED = {
    **dict.fromkeys((_T.TEXT, _T.VARCHAR, _T.CHAR, _T.NCHAR, _T.NVARCHAR), "STRING"),
    **dict.fromkeys((_T.TINYINT, _T.SMALLINT, _T.INT, _T.BIGINT), "INT64"),
    **dict.fromkeys((_T.FLOAT, _T.DOUBLE), "FLOAT64"),
    _T.BOOLEAN: "BOOL",
    _T.TIMESTAMPTZ: "TIMESTAMP",
    **dict.fromkeys((_T.TIMESTAMP, _T.DATETIME), "DATETIME"),
    _T.DATE: "DATE",
    _T.TIME: "TIME",
    _T.JSON: "JSON",
    _T.STRUCT: "STRUCT",
    _T.ARRAY: "ARRAY",
    **dict.fromkeys((_T.DECIMAL, _T.BIGDECIMAL), "NUMERIC"),
    **dict.fromkeys((_T.BINARY, _T.VARBINARY), "BYTES"),
    _T.INTERVAL: "INTERVAL",
}
UNKNOWN = "UNKNOWN"
NUMERIC = frozenset({"INT64", "FLOAT64", "NUMERIC"})


def kind_of(node: exp.Expression) -> str:
    """Return the name of an expression's type, or UNKNOWN; what is below a JSON is a JSON."""
    if isinstance(node, exp.Null):
        return UNKNOWN
    if isinstance(node, exp.Paren | exp.Alias | exp.Order | exp.Limit):
        return kind_of(node.this)
    if isinstance(node, exp.Dot | exp.Bracket) and kind_of(node.this) == "JSON":
        return "JSON"
    return INFERRED.get(node.type.this, UNKNOWN) if node.type else UNKNOWN


def written(node: exp.Expression) -> str:
    """Return an expression's type as BigQuery's messages write it."""
    kind = kind_of(node)
    return node.type.sql("bigquery").replace("`", "") if kind in ("STRUCT", "ARRAY") else kind


def struct_fields(kind: exp.DataType) -> Iterator[tuple[str, exp.DataType]]:
    """Yield the names and types of a STRUCT's fields."""
    for index, field in enumerate(kind.expressions, 1):
        if isinstance(field, exp.ColumnDef):
            yield field.name, field.args["kind"]
        else:
            yield f"_field_{index}", field


def declared(field: Json) -> str:
    """Return a table's field as GoogleSQL writes its type, with names in lower case, as sqlglot compares them."""
    kind = name_of(field)
    if kind == "STRUCT":
        below = ", ".join(f"`{one['name'].lower()}` {declared(one)}" for one in field["fields"])
        kind = f"STRUCT<{below}>"
    return f"ARRAY<{kind}>" if field.get("mode") == "REPEATED" else kind


def stored(field: Json) -> str:
    """Return the type by which duckdb keeps a table's field.

    Raises CloudError: 501 for a type that is not kept.
    """
    kind = name_of(field)
    if kind == "STRUCT":
        below = ", ".join(f"{quoted(one['name'])} {stored(one)}" for one in field["fields"])
        found = f"STRUCT({below})"
    elif kind in STORED:
        found = STORED[kind]
    else:
        raise unimplemented(f"columns of type {kind}")
    return f"{found}[]" if field.get("mode") == "REPEATED" else found


def quoted(name: str) -> str:
    """Return a name as duckdb's SQL quotes it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def field_of(name: str, kind: exp.DataType | None, spelled: dict[str, str]) -> Json:
    """Return a result's column as a schema describes it.

    Raises CloudError: 501 for a type that could not be inferred.
    """
    mode = "NULLABLE"
    if kind is not None and kind.this == _T.ARRAY and kind.expressions:
        mode, kind = "REPEATED", kind.expressions[0]
    found = INFERRED.get(kind.this) if kind is not None else None
    if kind is None or found is None:
        raise unimplemented(f"telling the type of {name}")
    field: Json = {"name": name, "type": LEGACY.get(found, found), "mode": mode}
    if found == "STRUCT":
        field["fields"] = [field_of(spelled.get(one, one), below, spelled) for one, below in struct_fields(kind)]
    return field
