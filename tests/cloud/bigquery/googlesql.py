"""Queries in GoogleSQL: parsed, views expanded, names and types resolved as BigQuery does, written in duckdb's SQL.

sqlglot parses, resolves and infers types. It is laxer than BigQuery, so checks.py refuses what BigQuery would;
functions.py says what duckdb is asked for. Nothing is run here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import sqlglot
from sqlglot import exp
from sqlglot.dialects.bigquery import BigQuery
from sqlglot.errors import OptimizeError, ParseError, TokenError
from sqlglot.helper import seq_get
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from tests.cloud.bigquery import casts, checks, functions
from tests.cloud.bigquery.types import declared, field_of, kind_of
from tests.cloud.errors import CloudError, not_found, unimplemented
from tests.cloud.schemas import Json

DEEPEST_VIEWS = 16
PLACE = re.compile(r"Line: (\d+), Col: (\d+)")
UNRESOLVED = re.compile(r"(?:Column '([^']+)' could not|Unknown column: (\S+)|Ambiguous column '([^']+)')")


ROOT = exp.Literal.string("$")


class GoogleSQL(BigQuery):
    """BigQuery's dialect, with JSONPaths left as they are written: sqlglot's reading of them is laxer."""

    class Parser(BigQuery.Parser):
        """Takes JSON_QUERY without a path, which sqlglot refuses."""

        FUNCTIONS: ClassVar[dict[str, Any]] = {
            **BigQuery.Parser.FUNCTIONS,
            "JSON_QUERY": lambda given: exp.JSONExtract(
                this=seq_get(given, 0), expression=seq_get(given, 1) or ROOT.copy()
            ),
        }

    def to_json_path(self, path: exp.Expression | None) -> exp.Expression | None:
        """Return the path unread."""
        return path


class Catalog(Protocol):
    """What there is to query."""

    @property
    def project(self) -> str:
        """The project that runs the query."""

    def location(self, dataset: str) -> str | None:
        """Return where a dataset is, or None where there is none."""

    def table(self, dataset: str, table: str) -> Json | None:
        """Return a table or view as BigQuery's API describes it, or None where there is none."""


@dataclass(frozen=True)
class TableName:
    """A table of the project."""

    dataset: str
    table: str


@dataclass(frozen=True)
class Compiled:
    """A query in duckdb's SQL, with what it gives and which tables it reads."""

    sql: str
    names: tuple[str, ...]
    kinds: tuple[exp.DataType | None, ...]
    spelled: Mapping[str, str]
    tables: Mapping[str, TableName]  # by the name that the SQL has for them

    def fields(self) -> list[Json]:
        """Return the schema of what the query gives."""
        return [field_of(name, kind, dict(self.spelled)) for name, kind in zip(self.names, self.kinds, strict=True)]


def compile_query(
    text: str, catalog: Catalog, default_dataset: str | None = None, parameters: Mapping[str | int, Json] | None = None
) -> Compiled:
    """Return a query as duckdb can run it; parameters are by name, or by position from 0.

    Raises CloudError: 400 and 404 as BigQuery refuses a query, 501 for what is not known here.
    """
    tree = _parse(text)
    _fill_in(tree, parameters or {})
    _name_columns(tree)
    expansion = _Expansion(catalog, default_dataset)
    expansion.expand(tree, 0)
    spelled = _spellings(tree, expansion.fields)
    checked = _resolve(tree, MappingSchema(expansion.schema(), dialect="bigquery"))
    checks.check(checked)
    names = tuple(spelled.get(one.alias_or_name, one.alias_or_name) for one in checked.selects)
    _check_names(names)
    kinds = tuple(_result_kind(one) for one in checked.selects)
    sql = _rewrite(checked, expansion).sql(dialect="duckdb", copy=False)
    return Compiled(sql, names, kinds, spelled, expansion.tables)


def _parse(text: str) -> exp.Query:
    try:
        statements = [one for one in sqlglot.parse(text, dialect=GoogleSQL) if one is not None]
    except ParseError as fault:
        first = fault.errors[0] if fault.errors else {}
        place = f" at [{first.get('line')}:{first.get('col')}]" if first.get("line") else ""
        near = f': Unexpected "{first["highlight"]}"' if first.get("highlight") else ""
        raise invalid_query(f"Syntax error{near}{place}") from None
    except TokenError as fault:
        raise invalid_query(f"Syntax error: {str(fault).splitlines()[0]}") from None
    if len(statements) != 1:
        raise (
            unimplemented("scripts of several statements")
            if statements
            else invalid_query("Syntax error: Unexpected end of statement")
        )
    if not isinstance(statements[0], exp.Query):
        raise unimplemented(f"statements other than SELECT, here {type(statements[0]).__name__.upper()}")
    return statements[0]


def invalid_query(message: str) -> CloudError:
    """Return the refusal of a query that is wrong."""
    return CloudError(400, "invalidQuery", message)


def _fill_in(tree: exp.Query, parameters: Mapping[str | int, Json]) -> None:
    """Write query parameters into a query, as typed literals."""
    placeholders = [node for node in tree.walk() if isinstance(node, exp.Parameter | exp.Placeholder)]
    for position, node in enumerate(placeholders):
        key: str | int = node.name.lower() if isinstance(node, exp.Parameter) else position
        if key not in parameters:
            what = f"Query parameter '{node.name}'" if isinstance(key, str) else f"Positional parameter {position + 1}"
            raise invalid_query(f"{what} not found")
        node.replace(_literal(parameters[key]))


def _literal(parameter: Json) -> exp.Expression:
    kind = parameter["parameterType"]["type"].upper()
    value = (parameter.get("parameterValue") or {}).get("value")
    if kind not in PARAMETER_TYPES:
        raise unimplemented(f"query parameters of type {kind}")
    if value is None:
        return exp.cast(exp.Null(), PARAMETER_TYPES[kind], dialect="bigquery")
    if kind == "STRING":
        return exp.Literal.string(value)
    return exp.cast(exp.Literal.string(value), PARAMETER_TYPES[kind], dialect="bigquery")


PARAMETER_TYPES = {
    **{name: name for name in ("STRING", "INT64", "FLOAT64", "BOOL", "TIMESTAMP", "DATE")},
    **{"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"},
}


def _name_columns(tree: exp.Query) -> None:
    """Name what a query gives without a name of its own, as BigQuery does: f0_, f1_, ..."""
    anonymous = 0
    for one in _first_select(tree).expressions:
        if isinstance(one, exp.Alias | exp.Star) or (isinstance(one, exp.Column | exp.Dot) and one.name):
            continue
        one.replace(exp.alias_(one.copy(), f"f{anonymous}_"))
        anonymous += 1


def _first_select(tree: exp.Query) -> exp.Select:
    while not isinstance(tree, exp.Select):
        tree = tree.this
    return tree


def _check_names(names: tuple[str, ...]) -> None:
    lowered = [name.lower() for name in names]
    repeated = sorted({name for name in lowered if lowered.count(name) > 1})
    if repeated:
        raise invalid_query(
            f"Duplicate column names in the result are not supported. Found duplicate(s): {', '.join(repeated)}"
        )


class _Expansion:
    """The tables that a query names, with views replaced by what they stand for."""

    def __init__(self, catalog: Catalog, default_dataset: str | None) -> None:
        self._catalog = catalog
        self._default = default_dataset
        self._names: dict[TableName, str] = {}
        self.fields: dict[TableName, list[Json]] = {}

    @property
    def tables(self) -> dict[str, TableName]:
        return {name: table for table, name in self._names.items()}

    def schema(self) -> Json:
        """Return what sqlglot has to know of the tables."""
        found: Json = {}
        for table, fields in self.fields.items():
            columns = {field["name"].lower(): declared(field) for field in fields}
            found.setdefault(self._catalog.project, {}).setdefault(table.dataset, {})[table.table] = columns
        return found

    def expand(self, tree: exp.Expression, depth: int) -> None:
        """Resolve every table of a query, in place."""
        if depth > DEEPEST_VIEWS:
            raise invalid_query(
                f"Too many nested views/persistent user-defined functions. Maximum depth is {DEEPEST_VIEWS}."
            )
        for node in list(tree.find_all(exp.Table)):
            if not _is_local(node):
                self._resolve(node, depth)

    def name(self, node: exp.Table) -> str:
        """Return the name that duckdb's SQL has for a table."""
        table = TableName(node.db, node.name)
        return self._names.setdefault(table, f"{table.dataset}.{table.table}")

    def _resolve(self, node: exp.Table, depth: int) -> None:
        table = self._find(node)
        resource = self._catalog.table(table.dataset, table.table)
        if resource is None:
            place = self._catalog.location(table.dataset)
            name = f"{self._catalog.project}:{table.dataset}.{table.table}"
            raise not_found(f"Not found: Table {name} was not found in location {place}")
        alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.table))
        if resource.get("view"):
            node.replace(self._view(resource["view"], alias, depth))
            return
        self.fields[table] = (resource.get("schema") or {}).get("fields") or []
        parts = {"catalog": self._catalog.project, "db": table.dataset, "this": table.table}
        for part, name in parts.items():
            node.set(part, exp.to_identifier(name, quoted=True))
        node.set("alias", alias.copy())

    def _find(self, node: exp.Table) -> TableName:
        written = ".".join(part.name for part in node.parts)
        if node.args.get("joins") or not all(isinstance(part, exp.Identifier) for part in node.parts):
            raise unimplemented(f"the table expression {node.sql('bigquery')}")
        if "*" in written or "INFORMATION_SCHEMA" in written.upper():
            raise unimplemented(f"wildcard tables and INFORMATION_SCHEMA, here {written}")
        project, dataset = node.catalog or self._catalog.project, node.db or self._default
        if not dataset:
            raise CloudError(
                400, "invalid", f'Table "{written}" must be qualified with a dataset (e.g. dataset.table).'
            )
        if project != self._catalog.project or self._catalog.location(dataset) is None:
            raise not_found(f"Not found: Dataset {project}:{dataset} was not found in location US")
        return TableName(dataset, node.name)

    def _view(self, view: Json, alias: exp.TableAlias, depth: int) -> exp.Subquery:
        if view.get("useLegacySql", True):
            raise unimplemented("views in legacy SQL")
        query = _parse(view["query"])
        self.expand(query, depth + 1)
        return exp.Subquery(this=query, alias=alias.copy())


def _is_local(node: exp.Table) -> bool:
    """Whether a table is one that a WITH around it names, or an array of a table before it."""
    if node.catalog:
        return False
    if node.db:  # t.array, where t is in the same FROM
        select = node.find_ancestor(exp.Select)
        return select is not None and node.db.lower() in _aliases(select)
    above: exp.Expression | None = node
    while above is not None:
        ctes = above.ctes if isinstance(above, exp.Query) else []
        if node.name.lower() in {cte.alias.lower() for cte in ctes}:
            return True
        above = above.parent
    return False


def _aliases(select: exp.Select) -> set[str]:
    sources = [select.args.get("from_"), *select.args.get("joins", [])]
    return {source.this.alias_or_name.lower() for source in sources if source is not None}


def _spellings(tree: exp.Query, fields: Mapping[TableName, list[Json]]) -> dict[str, str]:
    """Return how names are spelled that sqlglot compares in lower case: by the query, else by the tables."""
    spelled: dict[str, str] = {}
    for columns in fields.values():
        spelled |= {name.lower(): name for name in _field_names(columns)}
    for alias in tree.find_all(exp.Alias, exp.PropertyEQ):
        name = alias.alias if isinstance(alias, exp.Alias) else alias.this.name
        spelled[name.lower()] = name
    for one in _first_select(tree).expressions:
        if not isinstance(one, exp.Star) and one.alias_or_name != "*":
            spelled[one.alias_or_name.lower()] = one.alias_or_name
    return spelled


def _field_names(fields: list[Json]) -> Iterator[str]:
    for field in fields:
        yield field["name"]
        yield from _field_names(field.get("fields") or [])


def _resolve(tree: exp.Query, schema: MappingSchema) -> exp.Query:
    """Return a query with every column's source and type."""
    try:
        # Names that a SELECT list gives are no columns in the list itself and in WHERE; sqlglot would take them there.
        qualify(_without_tails(tree.copy()), schema=schema, dialect=GoogleSQL, expand_alias_refs=False)
        qualified = qualify(tree.copy(), schema=schema, dialect=GoogleSQL)
    except OptimizeError as fault:
        raise _unrecognized(str(fault)) from None
    _check_unnested(qualified)
    typed: exp.Query = annotate_types(qualified, schema=schema, dialect=GoogleSQL)
    return typed


def _check_unnested(tree: exp.Query) -> None:
    """Refuse names of a STRUCT's fields without the array's alias: BigQuery takes them, duckdb has no such column."""
    known = {unnest.alias: _unnested_names(unnest) for unnest in tree.find_all(exp.Unnest)}
    for column in tree.find_all(exp.Column):
        if column.name not in known.get(column.table, {column.name}):
            raise unimplemented(f"the field {column.name} of an UNNEST without the array's alias before it")


def _unnested_names(unnest: exp.Unnest) -> set[str]:
    offset = unnest.args.get("offset")
    return {*unnest.alias_column_names, *([offset.name] if offset else [])}


def _without_tails(tree: exp.Query) -> exp.Query:
    for query in list(tree.find_all(exp.Query)):
        for clause in ("group", "having", "qualify", "order"):
            query.set(clause, None)
    return tree


def _unrecognized(message: str) -> CloudError:
    found, place = UNRESOLVED.search(message), PLACE.search(message)
    if found is None:
        return unimplemented(f"this query: {message}")
    name = next(filter(None, found.groups())).strip("`")
    at = f" at [{place[1]}:{int(place[2]) - len(name) + 1}]" if place else ""
    return invalid_query(f"Unrecognized name: {name}{at}")


def _result_kind(one: exp.Expression) -> exp.DataType | None:
    kind = kind_of(one)
    if kind == "JSON":
        return exp.DataType.build("JSON")
    return one.type if kind != "UNKNOWN" else None


def _rewrite(tree: exp.Query, expansion: _Expansion) -> exp.Query:
    """Return a checked query as duckdb means it, the innermost expressions first."""
    root = exp.Paren(this=tree)  # what is rewritten needs a parent
    for node in reversed(list(tree.walk(bfs=True))):
        written = _written(node, expansion)
        if written is not node:
            written.type = "JSON" if kind_of(node) == "JSON" else node.type
            node.replace(written)
    result: exp.Query = root.this
    return result


def _written(node: exp.Expression, expansion: _Expansion) -> exp.Expression:
    function = functions.FUNCTIONS.get(type(node))
    if function is not None:
        _read_literals(node, function)
        return function.write(node) if function.write else node
    rewriting = SYNTAX.get(type(node))
    if rewriting is not None:
        return rewriting(node, expansion)
    if not isinstance(node, functions.PLAIN):
        raise unimplemented(f"{node.sql('bigquery')[:80]} ({type(node).__name__})")
    return node


def _read_literals(node: exp.Expression, function: functions.Function) -> None:
    """Read text literals that stand where a time is taken."""
    for index, one in enumerate(functions.operands(node)):
        kinds = function.kinds[min(index, len(function.kinds) - 1)].split("|") if function.kinds else []
        if "TIMESTAMP" in kinds and "STRING" not in kinds and isinstance(one, exp.Literal) and one.is_string:
            one.replace(casts.cast(one.copy(), "TIMESTAMP"))


def _table(node: exp.Table, expansion: _Expansion) -> exp.Expression:
    if not node.db:
        return node  # of a WITH
    return exp.Table(this=exp.to_identifier(expansion.name(node), quoted=True), alias=node.args["alias"])


def _unnest(node: exp.Unnest, expansion: _Expansion) -> exp.Expression:
    """Return UNNEST with its offset from 0: duckdb's WITH ORDINALITY counts from 1."""
    if isinstance(node.parent, exp.In):
        return node
    alias, (array, *others) = node.args.get("alias"), node.expressions
    if others or alias is None or not alias.columns:
        raise unimplemented(f"{node.sql('bigquery')} without one array and an alias")
    columns = [exp.alias_(casts.call("unnest", array), alias.columns[0].copy())]
    if offset := node.args.get("offset"):
        positions = casts.call("range", casts.call("len", array.copy()))
        columns.append(exp.alias_(casts.call("unnest", positions), offset.copy()))
    query = exp.Subquery(this=exp.Select(expressions=columns), alias=exp.TableAlias(this=alias.this))
    return exp.Lateral(
        this=query.this.subquery(), alias=exp.TableAlias(this=alias.this or exp.to_identifier("_unnested"))
    )


def _cast(node: exp.Cast, expansion: _Expansion) -> exp.Expression:
    kind = kind_of(node)
    if isinstance(node.this, exp.Literal) and node.this.is_string and kind == "UNKNOWN":
        raise unimplemented(node.sql("bigquery"))
    written = casts.cast(node.this, kind)
    if not isinstance(node, exp.TryCast):
        return written
    if isinstance(written, exp.Anonymous) and written.name in functions.PYTHON_NAMES:
        return casts.call(f"{written.name}_safe", *written.expressions)
    return written


def _dot(node: exp.Dot, expansion: _Expansion) -> exp.Expression:
    if kind_of(node.this) == "JSON":
        return functions.member(node.this, node.expression.name)
    return node


def _in(node: exp.In, expansion: _Expansion) -> exp.Expression:
    unnest = node.args.get("unnest")
    return node if unnest is None else casts.call("list_contains", unnest.expressions[0], node.this)


def _comparison(node: exp.Expression, expansion: _Expansion) -> exp.Expression:
    """Read the text literals that are compared with a time or a date as BigQuery does."""
    sides = functions.operands(node)
    kinds = {kind_of(side) for side in sides} & {"TIMESTAMP", "DATE"}
    for side in sides:
        if kinds and isinstance(side, exp.Literal) and side.is_string:
            side.replace(casts.cast(side.copy(), next(iter(kinds))))
    return node


Rewriting = Callable[[Any, _Expansion], exp.Expression]
COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)
SYNTAX: dict[type[exp.Expression], Rewriting] = {
    exp.Table: _table,
    exp.Unnest: _unnest,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Dot: _dot,
    exp.Literal: lambda node, expansion: casts.number(node),
    exp.In: _in,
    **dict.fromkeys(COMPARISONS, _comparison),
}
