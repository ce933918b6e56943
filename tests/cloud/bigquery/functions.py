"""What duckdb is asked for in the place of GoogleSQL's functions and operators; what is not listed here is a 501.

Listed with a signature are functions whose arguments BigQuery would check. Rewritten is whatever means something else
in duckdb: JSON (json_text.py), casts (casts.py), offsets out of bounds, divisions by zero, NULLs in GREATEST, times.
Entries follow https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-and-operators.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from tests.cloud.bigquery import casts, json_text
from tests.cloud.bigquery.casts import Node, Writer, call, native_cast
from tests.cloud.bigquery.json_text import bad_value
from tests.cloud.bigquery.types import kind_of
from tests.cloud.errors import unimplemented
from tests.cloud.re2 import compile_pattern

MACROS = (
    """CREATE MACRO bq_offset(list, i) AS CASE
        WHEN i < 0 THEN error('Array index ' || i || ' is out of bounds (underflow)')
        WHEN i >= len(list) THEN error('Array index ' || i || ' is out of bounds (overflow)')
        ELSE list[i + 1] END""",
    "CREATE MACRO bq_safe_offset(list, i) AS CASE WHEN i >= 0 THEN list[i + 1] END",
    """CREATE MACRO bq_divide(a, b) AS CASE
        WHEN b = 0 THEN error('division by zero: ' || a || ' / ' || b) ELSE a::DOUBLE / b END""",
    """CREATE MACRO bq_div(a, b) AS CASE
        WHEN b = 0 THEN error('division by zero: ' || a || ' / ' || b) ELSE a // b END""",
    """CREATE MACRO bq_mod(a, b) AS CASE
        WHEN b = 0 THEN error('division by zero: MOD(' || a || ', ' || b || ')') ELSE a % b END""",
    "CREATE MACRO bq_safe_divide(a, b) AS CASE WHEN b <> 0 THEN a::DOUBLE / b END",
    "CREATE MACRO bq_greatest(a, b) AS CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN greatest(a, b) END",
    "CREATE MACRO bq_least(a, b) AS CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN least(a, b) END",
    "CREATE MACRO bq_float_to_int(a) AS CAST(round(a) AS BIGINT)",  # halves away from zero, duckdb's cast: to even
    "CREATE MACRO bq_substr(a, p, n) AS substr(a, CASE p WHEN 0 THEN 1 ELSE p END, n)",
    "CREATE MACRO bq_substr_rest(a, p) AS substr(a, CASE p WHEN 0 THEN 1 ELSE p END)",
    "CREATE MACRO bq_now() AS now() AT TIME ZONE 'UTC'",
    "CREATE MACRO bq_unix_seconds(a) AS CAST(floor(epoch_us(a) / 1e6) AS BIGINT)",
    "CREATE MACRO bq_unix_millis(a) AS CAST(floor(epoch_us(a) / 1e3) AS BIGINT)",
)
MICROSECONDS = {"MICROSECOND": 1, "MILLISECOND": 10**3, "SECOND": 10**6, "MINUTE": 60 * 10**6, "HOUR": 3600 * 10**6}
MICROSECONDS["DAY"] = 24 * MICROSECONDS["HOUR"]
TRUNCATIONS = {*MICROSECONDS, "MONTH", "QUARTER", "YEAR"}
PARTS = {"YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "QUARTER", "DAYOFYEAR"}
# One step of a JSONPath, in the syntax of the standard functions: .key, [index] or ."any key".
STEP = re.compile(r"\.([\w\-:\s]+)|\[\s*(\d+)\s*\]|\.\"((?:[^\\\"]|\\.)*)\"")
COUNTLESS = re.compile(r"lax\s|recursive\s", re.IGNORECASE)


@dataclass(frozen=True)
class Function:
    """A function of GoogleSQL: its name, which types its arguments may have, and how duckdb is asked for it."""

    name: str
    kinds: tuple[
        str, ...
    ]  # of each argument, separated by |; ANY for all of them; the last one goes for all that follow
    write: Writer | None = None  # None: duckdb has it as it is


def operands(node: Node) -> list[Node]:
    """Return a function's arguments in their order."""
    found: list[Node] = []
    for name in node.arg_types:
        value = node.args.get(name)
        found += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, exp.Expression)]
    return found


def steps_of(path: Node) -> exp.Literal:
    """Return a JSONPath as the list of steps that the functions of json_text.py take.

    Raises CloudError: 400 for what is no JSONPath.
    """
    if not isinstance(path, exp.Literal) or not path.is_string:
        raise bad_value("JSONPath must be a string literal or query parameter")
    text = path.this
    if COUNTLESS.match(text):
        raise unimplemented("JSONPath's lax mode")
    if not text.startswith("$"):
        raise bad_value("JSONPath must start with '$'")
    return exp.Literal.string(json.dumps(list(_steps(text[1:]))))


def _steps(text: str) -> Iterator[str | int]:
    while text:
        found = STEP.match(text)
        if found is None:
            raise bad_value(f"Invalid token in JSONPath at: {text}")
        key, index, escaped = found.groups()
        yield int(index) if index else key if key is not None else re.sub(r"\\(.)", r"\1", escaped)
        text = text[found.end() :]


def _calls(name: str) -> Writer:
    return lambda node: call(name, *operands(node))


def _json(name: str) -> Writer:
    """Return the writer of a function that takes a STRING or a JSON, and a path."""

    def write(node: Node) -> Node:
        variant = "json" if kind_of(node.this) == "JSON" else "text"
        return call(f"{name}_of_{variant}", node.this, steps_of(node.args.get("expression") or exp.Literal.string("$")))

    return write


def _parse_json(node: exp.ParseJSON) -> Node:
    mode = node.args.get("expression")
    if isinstance(mode, exp.Kwarg):
        if mode.name != "wide_number_mode":
            raise bad_value(f"Named argument {mode.name} not found in signature for call to function PARSE_JSON")
        mode = mode.expression
    mode = mode or exp.Literal.string("exact")
    if mode.name not in ("exact", "round"):
        raise bad_value(f"Invalid wide_number_mode: {mode.name}")
    return call("bq_parse_json", node.this, mode)


def _to_json_string(node: exp.JSONFormat) -> Node:
    if node.args.get("to_json") or node.args.get("options") or kind_of(node.this) != "JSON":
        raise unimplemented("TO_JSON, and TO_JSON_STRING of anything but JSON")
    return node.this


def _bracket(node: exp.Bracket) -> Node:
    kind, index = kind_of(node.this), node.expressions[0]
    if kind == "JSON":
        if not isinstance(index, exp.Literal):
            raise unimplemented("JSON subscripts that are not literals")
        return member(node.this, index.this if index.is_string else int(index.this))
    if kind != "ARRAY":
        raise bad_value(f"Element access using [] is not supported on values of type {kind}")
    if node.args.get("offset") == 1:
        index = exp.Paren(this=exp.Sub(this=index, expression=exp.Literal.number(1)))
    return call("bq_safe_offset" if node.args.get("safe") else "bq_offset", node.this, index)


def member(value: Node, step: str | int) -> Node:
    """Return what is at one step below a JSON."""
    return call("bq_query_of_json", value, exp.Literal.string(json.dumps([step])))


def _array_agg(node: exp.ArrayAgg) -> Node:
    limit = node.this if isinstance(node.this, exp.Limit) else None
    if limit is None:
        return call("list", node.this)
    return call("list_slice", call("list", limit.this), exp.Literal.number(1), limit.expression)


def _ignore_nulls(node: exp.IgnoreNulls) -> Node:
    """Return ARRAY_AGG(x IGNORE NULLS) with the NULLs filtered out: duckdb's list() keeps them."""
    below = node.this
    slicing = below if isinstance(below, exp.Anonymous) and below.name == "list_slice" else None
    listing = slicing.expressions[0] if slicing else below
    if not (isinstance(listing, exp.Anonymous) and listing.name == "list"):
        raise unimplemented(f"IGNORE NULLS of {below.sql('bigquery')}")
    value = listing.expressions[0]
    while isinstance(value, exp.Order | exp.Distinct):
        value = value.this or value.expressions[0]
    condition = exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))
    filtered = exp.Filter(this=listing.copy(), expression=exp.Where(this=condition))
    return call("list_slice", filtered, *slicing.expressions[1:]) if slicing else filtered


def _string_agg(node: exp.GroupConcat) -> Node:
    """Return STRING_AGG with its separator, which a sorting follows."""
    separator = node.args.get("separator") or exp.Literal.string(",")
    if not isinstance(node.this, exp.Order):
        return call("string_agg", node.this, separator)
    sorting = exp.Order(this=separator, expressions=node.this.expressions)
    return call("string_agg", node.this.this, sorting)


def _extremum(name: str) -> Writer:
    def write(node: Node) -> Node:
        first, *others = operands(node)
        for other in others:
            first = call(name, first, other)
        return first

    return write


def _quantiles(node: exp.ApproxQuantiles) -> Node:
    """Return the exact quantiles, which are as good as approximate ones."""
    if not isinstance(node.expression, exp.Literal):
        raise bad_value("Argument 2 to APPROX_QUANTILES must be a literal or query parameter")
    count = int(node.expression.this)
    shares = [exp.Literal.number(index / count) for index in range(count + 1)]
    return call("quantile_disc", node.this, exp.Array(expressions=shares))


def _substring(node: exp.Substring) -> Node:
    return call("bq_substr" if node.args.get("length") else "bq_substr_rest", *operands(node))


def _pattern(node: Node) -> exp.Literal:
    pattern = node.expression
    if not isinstance(pattern, exp.Literal | exp.RawString):
        raise unimplemented("regular expressions that are not literals")
    compile_pattern(pattern.this)
    return exp.Literal.string(pattern.this)


def _regexp_extract(node: exp.RegexpExtract) -> Node:
    if node.args.get("position") or node.args.get("occurrence"):
        raise unimplemented("REGEXP_EXTRACT with position or occurrence")
    pattern = _pattern(node)
    groups = compile_pattern(pattern.this).groups
    if groups > 1:
        raise bad_value(f"Regular expression has {groups} capturing groups; REGEXP_EXTRACT takes at most one")
    found = call("regexp_extract", node.this, pattern, exp.Literal.number(groups))
    return exp.Case(ifs=[exp.If(this=call("regexp_matches", node.this.copy(), pattern.copy()), true=found)])


def _unit(node: Node, allowed: set[str] | dict[str, int]) -> str:
    unit = node.args.get("unit")
    name = unit.name.upper() if unit is not None else ""
    if node.args.get("zone"):
        raise unimplemented("time zones other than UTC")
    if name not in allowed:
        raise unimplemented(f"{type(node).__name__} by {name}")
    return name


def _shifted(operator: type[exp.Binary]) -> Writer:
    def write(node: Node) -> Node:
        unit = _unit(node, MICROSECONDS)
        amount = node.expression
        if isinstance(amount, exp.Literal):
            amount = exp.Literal.number(amount.this)
        span = call("to_microseconds", exp.Mul(this=exp.Paren(this=amount), expression=_micros(unit)))
        return exp.Paren(this=operator(this=node.this, expression=span))

    return write


def _micros(unit: str) -> exp.Expression:
    return exp.Literal.number(MICROSECONDS[unit])


def _timestamp_diff(node: exp.TimestampDiff) -> Node:
    unit = _unit(node, MICROSECONDS)
    between = exp.Sub(this=call("epoch_us", node.this), expression=call("epoch_us", node.expression))
    return call("bq_div", exp.Paren(this=between), _micros(unit))


def _timestamp_trunc(node: exp.TimestampTrunc) -> Node:
    return call("date_trunc", exp.Literal.string(_unit(node, TRUNCATIONS).lower()), node.this)


def _extract(node: exp.Extract) -> Node:
    part = node.this.name.upper()
    if part not in PARTS:
        raise unimplemented(f"EXTRACT({part} ...)")
    return call("date_part", exp.Literal.string(part.lower()), node.expression)


def _from_unix(node: exp.UnixToTime) -> Node:
    scale = int(node.args["scale"].this) if node.args.get("scale") else 0
    return call(
        "make_timestamp", exp.Mul(this=exp.Paren(this=node.this), expression=exp.Literal.number(10 ** (6 - scale)))
    )


def _timestamp(node: exp.Timestamp) -> Node:
    if node.args.get("zone"):
        raise unimplemented("time zones other than UTC")
    return casts.cast(node.this, "TIMESTAMP")


def _date(node: exp.Date) -> Node:
    if kind_of(node.this) not in ("TIMESTAMP", "DATE") or node.args.get("zone") or node.expressions:
        raise unimplemented("DATE of anything but one TIMESTAMP or DATE")
    return native_cast(node.this, "DATE")


PYTHON: tuple[json_text.Listed, ...] = (*json_text.FUNCTIONS, *casts.FUNCTIONS)
PYTHON_NAMES = frozenset(name for name, *_ in PYTHON)


def _safe(node: exp.SafeFunc) -> Node:
    below = node.this
    if not (isinstance(below, exp.Anonymous) and below.name in PYTHON_NAMES):
        raise unimplemented(f"SAFE. before {below.sql('bigquery')}")
    return call(f"{below.name}_safe", *below.expressions)


TEXT_OR_JSON = "STRING|JSON"
NUMBER = "INT64|FLOAT64|NUMERIC"
FUNCTIONS: dict[type[exp.Expression], Function] = {
    # JSON
    exp.JSONExtractScalar: Function("JSON_VALUE", (TEXT_OR_JSON, "ANY"), _json("bq_value")),
    exp.JSONExtract: Function("JSON_QUERY", (TEXT_OR_JSON, "ANY"), _json("bq_query")),
    exp.JSONExtractArray: Function("JSON_QUERY_ARRAY", (TEXT_OR_JSON, "ANY"), _json("bq_array")),
    exp.JSONValueArray: Function("JSON_VALUE_ARRAY", (TEXT_OR_JSON, "ANY"), _json("bq_values")),
    exp.ParseJSON: Function("PARSE_JSON", ("STRING", "ANY"), _parse_json),
    exp.JSONFormat: Function("TO_JSON_STRING", ("ANY",), _to_json_string),
    exp.JSONType: Function("JSON_TYPE", ("JSON",), _calls("bq_json_type")),
    exp.Float64: Function("FLOAT64", ("JSON",), _calls("bq_float64")),
    exp.Int64: Function("INT64", ("JSON",), _calls("bq_int64")),
    exp.String: Function("STRING", ("JSON",), _calls("bq_string")),
    exp.JSONBool: Function("BOOL", ("JSON",), _calls("bq_bool")),
    exp.LaxFloat64: Function("LAX_FLOAT64", ("JSON",), _calls("bq_lax_float64")),
    exp.LaxInt64: Function("LAX_INT64", ("JSON",), _calls("bq_lax_int64")),
    exp.LaxString: Function("LAX_STRING", ("JSON",), _calls("bq_lax_string")),
    exp.LaxBool: Function("LAX_BOOL", ("JSON",), _calls("bq_lax_bool")),
    # Arithmetic
    exp.Div: Function("/", (NUMBER,), _calls("bq_divide")),
    exp.IntDiv: Function("DIV", ("INT64|NUMERIC",), _calls("bq_div")),
    exp.Mod: Function("MOD", ("INT64|NUMERIC",), _calls("bq_mod")),
    exp.SafeDivide: Function("SAFE_DIVIDE", (NUMBER,), _calls("bq_safe_divide")),
    exp.Mul: Function("*", (NUMBER,)),
    exp.Add: Function("+", (NUMBER,)),
    exp.Sub: Function("-", (NUMBER,)),
    exp.Neg: Function("-", (NUMBER,)),
    exp.Abs: Function("ABS", (NUMBER,)),
    exp.Sign: Function("SIGN", (NUMBER,)),
    exp.Round: Function("ROUND", (NUMBER, "INT64"), _calls("round")),
    exp.Floor: Function("FLOOR", (NUMBER,), _calls("floor")),
    exp.Ceil: Function("CEIL", (NUMBER,), _calls("ceil")),
    exp.Sqrt: Function("SQRT", (NUMBER,)),
    exp.Exp: Function("EXP", (NUMBER,)),
    exp.Ln: Function("LN", (NUMBER,)),
    exp.Pow: Function("POW", (NUMBER,), _calls("pow")),
    exp.Greatest: Function("GREATEST", ("ANY",), _extremum("bq_greatest")),
    exp.Least: Function("LEAST", ("ANY",), _extremum("bq_least")),
    # Aggregates
    exp.Count: Function("COUNT", ("ANY",)),
    exp.CountIf: Function("COUNTIF", ("BOOL",), _calls("count_if")),
    exp.Sum: Function("SUM", (NUMBER,)),
    exp.Avg: Function("AVG", (NUMBER,)),
    exp.Min: Function("MIN", ("STRING|BOOL|TIMESTAMP|DATE|" + NUMBER,)),
    exp.Max: Function("MAX", ("STRING|BOOL|TIMESTAMP|DATE|" + NUMBER,)),
    exp.AnyValue: Function("ANY_VALUE", ("ANY",), _calls("any_value")),
    exp.LogicalAnd: Function("LOGICAL_AND", ("BOOL",), _calls("bool_and")),
    exp.LogicalOr: Function("LOGICAL_OR", ("BOOL",), _calls("bool_or")),
    exp.Stddev: Function("STDDEV", (NUMBER,), _calls("stddev_samp")),
    exp.StddevPop: Function("STDDEV_POP", (NUMBER,)),
    exp.Variance: Function("VARIANCE", (NUMBER,), _calls("var_samp")),
    exp.Corr: Function("CORR", (NUMBER,)),
    exp.ArrayAgg: Function("ARRAY_AGG", ("ANY",), _array_agg),
    exp.IgnoreNulls: Function("IGNORE NULLS", ("ANY",), _ignore_nulls),
    exp.GroupConcat: Function("STRING_AGG", ("STRING",), _string_agg),
    exp.ApproxQuantiles: Function("APPROX_QUANTILES", ("STRING|BOOL|TIMESTAMP|DATE|" + NUMBER, "INT64"), _quantiles),
    exp.ApproxDistinct: Function(
        "APPROX_COUNT_DISTINCT",
        ("ANY",),
        lambda node: exp.Count(this=exp.Distinct(expressions=[node.this])),
    ),
    # Texts
    exp.Concat: Function("CONCAT", ("STRING|BYTES",)),
    exp.DPipe: Function("||", ("STRING|BYTES|ARRAY",)),
    exp.Lower: Function("LOWER", ("STRING",)),
    exp.Upper: Function("UPPER", ("STRING",)),
    exp.Trim: Function("TRIM", ("STRING",)),
    exp.Length: Function("LENGTH", ("STRING",), lambda node: call("length", node.this)),
    exp.Replace: Function("REPLACE", ("STRING",), _calls("replace")),
    exp.Split: Function("SPLIT", ("STRING",), _calls("string_split")),
    exp.StartsWith: Function("STARTS_WITH", ("STRING",), _calls("starts_with")),
    exp.EndsWith: Function("ENDS_WITH", ("STRING",), _calls("ends_with")),
    exp.Substring: Function("SUBSTR", ("STRING", "INT64"), _substring),
    exp.RegexpLike: Function(
        "REGEXP_CONTAINS", ("STRING",), lambda node: call("regexp_matches", node.this, _pattern(node))
    ),
    exp.RegexpExtract: Function("REGEXP_EXTRACT", ("STRING", "STRING", "INT64"), _regexp_extract),
    # Times
    exp.CurrentTimestamp: Function("CURRENT_TIMESTAMP", (), lambda node: call("bq_now")),
    exp.CurrentDate: Function("CURRENT_DATE", (), lambda node: native_cast(call("bq_now"), "DATE")),
    exp.TimestampAdd: Function("TIMESTAMP_ADD", ("TIMESTAMP", "ANY"), _shifted(exp.Add)),
    exp.TimestampSub: Function("TIMESTAMP_SUB", ("TIMESTAMP", "ANY"), _shifted(exp.Sub)),
    exp.TimestampDiff: Function("TIMESTAMP_DIFF", ("TIMESTAMP", "TIMESTAMP", "ANY"), _timestamp_diff),
    exp.TimestampTrunc: Function("TIMESTAMP_TRUNC", ("TIMESTAMP", "ANY"), _timestamp_trunc),
    exp.Timestamp: Function("TIMESTAMP", ("STRING|DATE|TIMESTAMP",), _timestamp),
    exp.Date: Function("DATE", ("TIMESTAMP|DATE",), _date),
    exp.Extract: Function("EXTRACT", ("ANY", "TIMESTAMP|DATE"), _extract),
    exp.UnixSeconds: Function("UNIX_SECONDS", ("TIMESTAMP",), _calls("bq_unix_seconds")),
    exp.UnixMillis: Function("UNIX_MILLIS", ("TIMESTAMP",), _calls("bq_unix_millis")),
    exp.UnixMicros: Function("UNIX_MICROS", ("TIMESTAMP",), _calls("epoch_us")),
    exp.UnixToTime: Function("TIMESTAMP_MICROS, _MILLIS and _SECONDS", ("INT64", "ANY"), _from_unix),
    # Arrays, and what is written with brackets
    exp.ArraySize: Function("ARRAY_LENGTH", ("ARRAY",), _calls("len")),
    exp.Bracket: Function("[]", ("ANY",), _bracket),
    # Windows
    exp.RowNumber: Function("ROW_NUMBER", ()),
    exp.Rank: Function("RANK", ()),
    exp.DenseRank: Function("DENSE_RANK", ()),
    exp.Lag: Function("LAG", ("ANY",)),
    exp.Lead: Function("LEAD", ("ANY",)),
    exp.FirstValue: Function("FIRST_VALUE", ("ANY",)),
    exp.LastValue: Function("LAST_VALUE", ("ANY",)),
    exp.SafeFunc: Function("SAFE.", ("ANY",), _safe),
}
# Syntax, and functions that duckdb has with the same meaning for every type; checked elsewhere or not at all.
PLAIN: tuple[type[exp.Expression], ...] = (
    exp.Select, exp.SetOperation, exp.Subquery, exp.With, exp.CTE, exp.From, exp.Join, exp.Where, exp.Group, exp.Having,
    exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Qualify, exp.Distinct, exp.Table, exp.TableAlias, exp.Column,
    exp.Identifier, exp.Alias, exp.Star, exp.Literal, exp.RawString, exp.Boolean, exp.Null, exp.Paren, exp.Dot,
    exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Like,
    exp.Exists, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Cast, exp.DataType, exp.ColumnDef, exp.Struct,
    exp.PropertyEQ, exp.Array, exp.Unnest, exp.Window, exp.WindowSpec, exp.Var, exp.Kwarg,
)  # fmt: skip
