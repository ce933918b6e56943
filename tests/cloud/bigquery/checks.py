"""What BigQuery refuses in a query whose names are resolved: types that do not fit, fields that a STRUCT does not have.

Messages are near to Google's. A type that could not be inferred is let through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from tests.cloud.bigquery.functions import FUNCTIONS, operands
from tests.cloud.bigquery.types import NUMERIC, UNKNOWN, kind_of, struct_fields, written
from tests.cloud.errors import CloudError

OPERATORS = {exp.EQ: "=", exp.NEQ: "!=", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
EQUALITY = {exp.EQ: "Equality", exp.NEQ: "Inequality", exp.GT: "Greater than", exp.LT: "Less than"}
EQUALITY |= {exp.GTE: "Greater than or equal", exp.LTE: "Less than or equal"}
# Text literals are read as what they are compared with.
READ_FROM_TEXT = frozenset({"TIMESTAMP", "DATE", "DATETIME", "TIME"})
CONDITIONS = {exp.Where: "WHERE", exp.Having: "HAVING", exp.Qualify: "QUALIFY"}


def check(tree: exp.Expression) -> None:
    """Refuse what BigQuery would.

    Raises CloudError: 400.
    """
    for node in tree.walk():
        for checked, rule in RULES:
            if isinstance(node, checked):
                rule(node)


def _refuse(message: str) -> CloudError:
    return CloudError(400, "invalidQuery", message)


def _check_signature(node: exp.Expression) -> None:
    function = FUNCTIONS.get(type(node))
    if function is None or not function.kinds:
        return
    given = operands(node)
    for index, one in enumerate(given):
        allowed = function.kinds[min(index, len(function.kinds) - 1)]
        if allowed != "ANY" and not _fits(one, allowed.split("|")):
            types = ", ".join(written(each) for each in given)
            kind = "operator" if not function.name[0].isalpha() else "function"
            raise _refuse(f"No matching signature for {kind} {function.name} for argument types: {types}")


def _fits(node: exp.Expression, allowed: list[str]) -> bool:
    if isinstance(node, exp.Literal) and node.is_string and READ_FROM_TEXT & set(allowed):
        return True
    if isinstance(node, exp.Distinct):
        return all(_fits(one, allowed) for one in node.expressions)
    if isinstance(node, exp.Limit | exp.Order):
        return _fits(node.this, allowed)
    return kind_of(node) in (*allowed, UNKNOWN)


def _check_comparison(node: exp.Expression) -> None:
    left, right = node.this, node.expression
    for side in (left, right):
        if kind_of(side) in ("JSON", "ARRAY"):
            raise _refuse(f"{EQUALITY[type(node)]} is not defined for arguments of type {written(side)}")
    if not _comparable(left, right):
        types = f"{written(left)}, {written(right)}"
        raise _refuse(f"No matching signature for operator {OPERATORS[type(node)]} for argument types: {types}")


def _check_in(node: exp.In) -> None:
    unnest = node.args.get("unnest")
    others = [] if unnest else node.expressions
    if kind_of(node.this) == "JSON" or not all(_comparable(node.this, other) for other in others):
        types = ", ".join(written(one) for one in (node.this, *others))
        raise _refuse(f"No matching signature for operator IN for argument types: {types}")


def _comparable(left: exp.Expression, right: exp.Expression) -> bool:
    kinds = {kind_of(left), kind_of(right)}
    if UNKNOWN in kinds or len(kinds) == 1 or kinds <= NUMERIC:
        return True
    has_literal = any(isinstance(side, exp.Literal) and side.is_string for side in (left, right))
    return has_literal and "STRING" in kinds and bool(kinds & READ_FROM_TEXT)


def _check_supertype(node: exp.Expression) -> None:
    branches = _branches(node)
    for one in branches[1:]:
        if not _comparable(branches[0], one):
            types = ", ".join(written(branch) for branch in branches)
            name = {exp.If: "IF", exp.Case: "CASE"}.get(type(node), type(node).__name__.upper())
            raise _refuse(f"No matching signature for function {name} for argument types: {types}")


def _branches(node: exp.Expression) -> list[exp.Expression]:
    if isinstance(node, exp.Case):
        found = [branch.args.get("true") for branch in node.args["ifs"]] + [node.args.get("default")]
    elif isinstance(node, exp.If):
        found = [] if isinstance(node.parent, exp.Case) else [node.args.get("true"), node.args.get("false")]
    else:
        found = list(operands(node))
    return [one for one in found if one is not None and kind_of(one) != UNKNOWN]


def _check_test(node: exp.If) -> None:
    in_case = isinstance(node.parent, exp.Case)
    if not (in_case and node.parent.this) and kind_of(node.this) not in ("BOOL", UNKNOWN):
        types = ", ".join(written(one) for one in operands(node))
        raise _refuse(f"No matching signature for function {'CASE' if in_case else 'IF'} for argument types: {types}")


def _check_condition(node: exp.Expression) -> None:
    kind = kind_of(node.this)
    if kind not in ("BOOL", UNKNOWN):
        raise _refuse(f"{CONDITIONS[type(node)]} clause should return type BOOL, but returns type {kind}")


def _check_logic(node: exp.Expression) -> None:
    for side in operands(node):
        if kind_of(side) not in ("BOOL", UNKNOWN):
            name = type(node).__name__.upper()
            raise _refuse(f"No matching signature for operator {name} for argument types: {kind_of(side)}")


def _check_keys(node: exp.Group) -> None:
    for key in node.expressions:
        if (kind := kind_of(_selected(key))) in ("JSON", "ARRAY"):
            raise _refuse(f"Grouping by expressions of type {kind} is not allowed")


def _check_order(node: exp.Ordered) -> None:
    if (kind := kind_of(_selected(node.this))) in ("JSON", "ARRAY", "STRUCT"):
        raise _refuse(f"ORDER BY does not support expressions of type {kind}")


def _selected(key: exp.Expression) -> exp.Expression:
    """Return what a name of the SELECT list stands for."""
    select = key.find_ancestor(exp.Select)
    if isinstance(key, exp.Column) and not key.table and select is not None:
        return next((one for one in select.expressions if one.alias_or_name == key.name), key)
    return key


def _check_distinct(node: exp.Distinct) -> None:
    select = node.parent
    columns = node.expressions or (select.expressions if isinstance(select, exp.Select) else [])
    for one in columns:
        if (kind := kind_of(one)) in ("JSON", "ARRAY"):
            raise _refuse(f"DISTINCT cannot be used with expressions of type {kind}")


def _check_field(node: exp.Dot) -> None:
    kind, name = kind_of(node.this), node.expression.name
    if kind == "STRUCT" and name.lower() not in {one.lower() for one, _ in struct_fields(node.this.type)}:
        raise _refuse(f"Field name {name} does not exist in {written(node.this)}")
    if kind not in ("STRUCT", "JSON", UNKNOWN):
        raise _refuse(f"Cannot access field {name} on a value with type {written(node.this)}")


def _check_set(node: exp.SetOperation) -> None:
    left, right = node.left.selects, node.right.selects
    if len(left) != len(right):
        raise _refuse(
            f"Queries in {node.key.upper()} have mismatched column count; query 1 has {len(left)} columns, "
            f"query 2 has {len(right)} columns"
        )
    for index, (one, other) in enumerate(zip(left, right, strict=True), 1):
        if not _comparable(one, other):
            raise _refuse(
                f"Column {index} in {node.key.upper()} has incompatible types: {written(one)}, {written(other)}"
            )


def _rules() -> Iterator[tuple[tuple[type[exp.Expression], ...], Callable[..., None]]]:
    yield tuple(FUNCTIONS), _check_signature
    yield tuple(OPERATORS), _check_comparison
    yield (exp.In,), _check_in
    yield (exp.Coalesce, exp.Nullif, exp.If, exp.Case), _check_supertype
    yield tuple(CONDITIONS), _check_condition
    yield (exp.If,), _check_test
    yield (exp.And, exp.Or, exp.Not), _check_logic
    yield (exp.Group,), _check_keys
    yield (exp.Ordered,), _check_order
    yield (exp.Distinct,), _check_distinct
    yield (exp.Dot,), _check_field
    yield (exp.SetOperation,), _check_set


RULES = tuple(_rules())
