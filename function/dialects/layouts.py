"""How JSON dialects lay instances out: rows, bare values, columns by name or a table; and answers without names."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from function.call import Answered, Served, each_class
from function.contract import Feature, Method, Signature
from function.dialects.json_body import FORM_FAULT, as_rows, check_count, invalid
from function.errors import Detail, InvalidBody
from function.validation import FOUND_LENGTH, MAX_DETAILS, Instances, escape, expected, found

if TYPE_CHECKING:
    from function.schemas import Schema

EMPTY = "There is nothing to predict."


def read_rows(values: Any, at: str, served: Served) -> Instances:
    """Return a list of instances; a model of one feature takes its bare values too. Raises as `as_rows` does."""
    instances = as_rows(values, at, served.max_instances)
    if len(served.signature.features) > 1:
        return instances

    def value_at(index: int, key: str) -> str:
        return f"{at}/{index}/{key}" if _is_row(values[index]) else f"{at}/{index}"

    return Instances([value if _is_row(value) else [value] for value in values], instances.at, value_at)


def read_records(values: Any, at: str, served: Served) -> Instances:
    """Return a list of objects; raises as `as_rows` does."""
    instances = as_rows(values, at, served.max_instances)
    check_faults(
        Detail(at=f"{at}/{index}", expected="an object of features by name", found=found(value))
        for index, value in enumerate(values)
        if not isinstance(value, dict)
    )
    return instances


def read_columns(columns: Mapping[str, Any], at: str, served: Served) -> Instances:
    """Return the rows of columns by name, each a list, or the one row of plain values.

    Raises InvalidBody or TooManyInstances.
    """
    if columns and not any(isinstance(column, list) for column in columns.values()):
        return Instances([columns], lambda _: at)
    features = served.signature.features
    check_faults(_name_faults(columns, at, served.signature))
    check_faults(_length_faults(columns, at, features))
    count = len(columns[features[0].name])
    if not count:
        raise invalid(at, "at least one instance", "columns without values", EMPTY)
    check_count(count, served.max_instances)
    rows = zip(*(columns[feature.name] for feature in features), strict=True)
    places = [f"{at}/{escape(feature.name)}" for feature in features]
    return Instances(list(map(list, rows)), lambda _: at, lambda index, key: f"{places[int(key)]}/{index}")


def read_table(names: list[Any], rows: Any, names_at: str, at: str, served: Served) -> Instances:
    """Return a table's rows, its columns in any order; raises InvalidBody or TooManyInstances."""
    instances = as_rows(rows, at, served.max_instances)
    check_faults(_header_faults(names, names_at, served.signature))
    check_faults(_width_faults(rows, at, len(names)))
    order = [names.index(feature.name) for feature in served.signature.features]
    ordered = [[row[position] for position in order] for row in rows]
    return Instances(ordered, instances.at, lambda index, key: f"{at}/{index}/{order[int(key)]}")


def unnested(value: Any) -> Any:
    """Return an object or a list with the value of each list of one in its place: tensors of shape [1] and [n, 1]."""
    if isinstance(value, dict):
        return {name: _only_item(item) for name, item in value.items()}
    return [_only_item(item) for item in value] if isinstance(value, list) else value


def chosen_method(word: Any, at: str, signature: Signature) -> Method:
    """Return the method of the fitted pipeline that a caller names; raises InvalidBody."""
    for method in signature.methods:
        if method == word:
            return method
    raise invalid(
        at, f"one of {', '.join(signature.methods)}", found(word), "The model does not give what is asked for."
    )


def unnamed(answered: Answered, method: Method, signature: Signature) -> list[Any]:
    """Return what a method gave, an entry an instance: probabilities as lists in the order of the classes."""
    rows: list[Any] = answered.outputs[method]
    if method == "predict_proba" and len(signature.outputs) > 1:
        return [[each_class(values) for values in row] for row in rows]
    return rows


def rows_schema(served: Served) -> "Schema":
    """Return the schema of what `read_rows` reads."""
    from function import schemas  # here alone: predictions are answered without it

    forms = [schemas.INSTANCE, schemas.ROW]
    if len(served.signature.features) == 1:
        forms += _value_schemas(served.signature).values()
    return schemas.list_of(schemas.any_of(forms), minItems=1, maxItems=served.max_instances)


def columns_schema(served: Served) -> "Schema":
    """Return the schema of what `read_columns` reads; that columns are equally long, no schema can say."""
    from function import schemas

    columns = {
        name: schemas.list_of(value, minItems=1, maxItems=served.max_instances)
        for name, value in _value_schemas(served.signature).items()
    }
    return schemas.any_of([schemas.INSTANCE, schemas.object_of(columns)])


def _value_schemas(signature: Signature) -> "dict[str, Schema]":
    from function import schemas

    properties: dict[str, Schema] = schemas.components(signature)["Instance"]["properties"]
    return properties


def check_faults(faults: Iterable[Detail]) -> None:
    """Raise InvalidBody where there are faults, with as many as fit an answer."""
    if details := list(itertools.islice(faults, MAX_DETAILS)):
        raise InvalidBody(FORM_FAULT, details)


def _name_faults(columns: Mapping[str, Any], at: str, signature: Signature) -> Iterator[Detail]:
    for name in columns:
        if name not in signature.names:
            yield _unknown(f"{at}/{escape(name[:FOUND_LENGTH])}", signature)
    for feature in signature.features:
        if feature.name not in columns:
            place = f"{at}/{escape(feature.name)}"
            yield Detail(at=place, expected=f"a list, each value {expected(feature)}", found="nothing")


def _length_faults(columns: Mapping[str, Any], at: str, features: Iterable[Feature]) -> Iterator[Detail]:
    """Yield the columns that are not as long as the first list among them."""
    length = next(len(column) for column in columns.values() if isinstance(column, list))
    for feature in features:
        column = columns[feature.name]
        if not isinstance(column, list) or len(column) != length:
            place = f"{at}/{escape(feature.name)}"
            yield Detail(at=place, expected=f"a list of {length} values, as in the other columns", found=found(column))


def _header_faults(names: list[Any], at: str, signature: Signature) -> Iterator[Detail]:
    seen = set()
    for index, name in enumerate(names):
        if not isinstance(name, str) or name not in signature.names:
            yield _unknown(f"{at}/{index}", signature, found(name))
        elif name in seen:
            yield Detail(at=f"{at}/{index}", expected="each column once", found=found(name))
        else:
            seen.add(name)
    for feature in signature.features:
        if feature.name not in seen:
            yield Detail(at=at, expected=f"a column {feature.name!r}", found="none of that name")


def _width_faults(rows: list[Any], at: str, width: int) -> Iterator[Detail]:
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width:
            expected_text = f"a list of {width} values, one a column"
            yield Detail(at=f"{at}/{index}", expected=expected_text, found=found(row))


def _unknown(at: str, signature: Signature, what: str = "a name that it does not have") -> Detail:
    return Detail(at=at, expected=f"one of the model's {len(signature.names)} features", found=what)


def _only_item(item: Any) -> Any:
    return item[0] if isinstance(item, list) and len(item) == 1 else item


def _is_row(value: Any) -> bool:
    return isinstance(value, dict | list)
