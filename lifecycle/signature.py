"""A model's signature, learned: features from the training frame, outputs and form from the fitted pipeline."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from function.contract import Feature, Label, Method, Output, Signature
from lifecycle.errors import ArtifactRefused, DataRefused, NotFitted
from lifecycle.frames import column_type, plain_rows
from lifecycle.recipe import InputPolicy

# Tried one after the other: what a float64 holds, what a float32 holds, and what survives a square or a product.
LARGEST = (1.7976931348623157e308, 3.4028234663852886e38, 1e150, 1e18)
Form = Literal["frame", "array", "column", "records"]

MOST_CATEGORIES = 100
ROWS_PER_CATEGORY = 3  # text that repeats less often than this is free text
TRIAL_ROWS = 5


def learn_features(frame: pd.DataFrame, policies: Mapping[str, InputPolicy]) -> tuple[Feature, ...]:
    """Return the features of a frame; raises DataRefused with every column that cannot be one."""
    faults = [f"inputs.{name}: there is no such feature" for name in policies if name not in frame.columns]
    faults += [f"{name!r}: a column's name is text" for name in frame.columns if not isinstance(name, str)]
    faults += [f"{name}: there are two columns of this name" for name in frame.columns[frame.columns.duplicated()]]
    features = []
    for name in frame.columns[~frame.columns.duplicated(keep=False)]:
        try:
            features.append(_learn_feature(frame[name], policies.get(name, InputPolicy())))
        except DataRefused as error:
            faults.append(error.message)
    if faults:
        raise DataRefused("These columns cannot be features:", faults)
    return tuple(features)


def learn_signature(
    pipeline: Any, frame: pd.DataFrame, features: tuple[Feature, ...], targets: list[str], task: str
) -> Signature:
    """Return the signature of a pipeline fitted on a frame of these features."""
    form = find_form(pipeline, frame)
    features = tuple(_within_limits(pipeline, frame, form, feature) for feature in features)
    rows = as_input(frame, form)
    methods = tuple(method for method in get_args(Method) if method == "predict" or _has(pipeline, method, rows[:1]))
    answers = {method: ask(pipeline, method, rows) for method in methods}
    _check_outputs(pipeline, answers["predict"], targets)
    classes = _classes(pipeline, len(targets))
    return Signature(
        task="classification" if task == "classification" else "regression",
        features=features,
        outputs=tuple(Output(name=name, classes=labels) for name, labels in zip(targets, classes, strict=True)),
        methods=methods,
        form=form,
        magnitudes={method: magnitudes(answer) for method, answer in answers.items()},
    )


def _within_limits(pipeline: Any, frame: pd.DataFrame, form: Form, feature: Feature) -> Feature:
    """Return a feature with the largest number that the pipeline takes: trees refuse what no float32 holds."""
    if feature.type != "number" or feature.dtype.lower() != "float64":
        return feature
    for largest in LARGEST:
        probe = pd.concat([frame.iloc[:1]] * 2, ignore_index=True)
        probe[feature.name] = pd.array([largest, -largest], dtype=frame[feature.name].dtype)
        if _has(pipeline, "predict", as_input(probe, form)):
            return feature if largest == LARGEST[0] else feature.model_copy(update={"largest": largest})
    return feature


def _has(pipeline: Any, method: str, rows: Any) -> bool:
    """Tell whether a method is there and answers: some classes have methods that only say that they have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            getattr(pipeline, method)(rows)
        except Exception:
            return False
    return True


def ask(pipeline: Any, method: Method, rows: Any) -> Any:
    """Return what one of the fitted pipeline's methods gives; raises ArtifactRefused where it fails."""
    try:
        return getattr(pipeline, method)(rows)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        raise ArtifactRefused(f"{method}() of the fitted pipeline fails on the {len(rows)} rows:", [reason]) from error


def find_form(pipeline: Any, frame: pd.DataFrame) -> Form:
    """Return what the fitted pipeline takes: by its feature names, else the first form that gives one answer a row.

    Raises NotFitted, or ArtifactRefused that says for each form why it was not taken.
    """
    forms: tuple[Form, ...] = ("array", "frame", "column", "records")
    if getattr(pipeline, "feature_names_in_", None) is not None:
        forms = ("frame",)
    reasons: list[str] = []
    unfitted = False
    # A frame that is taken for a list of texts gives one answer a column: as many rows would hide it.
    count = TRIAL_ROWS + (frame.shape[1] == TRIAL_ROWS)
    head = frame.iloc[np.arange(count) % len(frame)]
    for form in forms:
        if form == "column" and frame.shape[1] != 1:
            continue
        try:
            answer = pipeline.predict(as_input(head, form))
        except Exception as error:
            unfitted |= isinstance(error, NotFittedError)
            reasons.append(f"as {form}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            continue
        if len(answer) == len(head):
            return form
        reasons.append(f"as {form}: {len(answer)} answers for {len(head)} rows")
    if unfitted:
        raise NotFitted("The pipeline is not fitted.")
    raise ArtifactRefused("The fitted pipeline does not take the examples:", reasons)


def as_input(frame: pd.DataFrame, form: Form) -> Any:
    """Return a frame in the form that the fitted pipeline takes."""
    if form == "frame":
        return frame
    if form == "column":
        return frame.iloc[:, 0]
    if form == "records":
        return [{k: v for k, v in row.items() if v is not None} for row in plain_rows(frame)]
    numeric = all(pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes)
    return frame.to_numpy(dtype=np.float64 if numeric else object, na_value=np.nan)


def magnitudes(output: Any) -> tuple[float, ...]:
    """Return the largest magnitude of each value of an output's rows, flattened; nothing where they are no floats."""
    if isinstance(output, list):
        return tuple(value for target in output for value in magnitudes(target))
    array = np.asarray(output)
    if array.dtype.kind != "f":
        return ()
    finite = np.where(np.isfinite(array), np.abs(array), 0.0).reshape(len(array), -1)
    return tuple(float(value) for value in finite.max(axis=0))


def _check_outputs(pipeline: Any, predicted: Any, targets: list[str]) -> None:
    shape = np.asarray(predicted).shape
    count = 1 if len(shape) == 1 else shape[1]
    if count != len(targets):
        names = ", ".join(targets)
        raise ArtifactRefused(
            f"The fitted pipeline gives {count} outputs a row, the targets are {len(targets)}: {names}."
        )
    classes = getattr(pipeline, "classes_", None)
    if count > 1 and classes is not None and not isinstance(classes, list):
        text = f"A {type(pipeline).__name__} gives {count} labels a row, but classes_ for one of them"
        raise ArtifactRefused(f"{text}. MultiOutputClassifier, trees, forests and neighbours have classes_ for each.")


def _classes(pipeline: Any, targets: int) -> list[tuple[Label, ...] | None]:
    classes = getattr(pipeline, "classes_", None)
    if classes is None:
        return [None] * targets
    if isinstance(classes, list):
        order = getattr(_last_estimator(pipeline), "order_", range(targets))  # of a chain, as its classes_ are
        return [tuple(np.asarray(classes[place]).tolist()) for place in np.argsort(order)]
    return [tuple(np.asarray(classes).tolist())] * targets


def _last_estimator(pipeline: Any) -> Any:
    while hasattr(pipeline, "best_estimator_") or hasattr(pipeline, "steps"):
        pipeline = pipeline.best_estimator_ if hasattr(pipeline, "best_estimator_") else pipeline.steps[-1][1]
    return pipeline


def _learn_feature(column: pd.Series, policy: InputPolicy) -> Feature:
    kind = column_type(column)
    present = column.dropna()
    if present.empty:
        raise DataRefused(f"{column.name}: every value is missing")
    nullable = bool(column.isna().any())
    if policy.missing == "accept" and isinstance(column.dtype, np.dtype) and column.dtype.kind in "biu":
        raise DataRefused(f"inputs.{column.name}: missing: accept, but a column of dtype {column.dtype} cannot hold it")
    if policy.missing is not None:
        nullable = policy.missing == "accept"
    categories = _categories(column, present, kind)
    categorical = column.dtype if isinstance(column.dtype, pd.CategoricalDtype) else None
    low, high = _range(present, kind) if categories is None else (None, None)
    return Feature(
        name=str(column.name),
        type=kind,
        dtype=str(column.dtype),
        nullable=nullable,
        missing="none" if _is_none_missing(column) else "nan",
        categories=categories,
        ordered=categorical is not None and bool(categorical.ordered),
        category_dtype=None if categorical is None else str(categorical.categories.dtype),
        minimum=low,
        maximum=high,
        example=_example(present, kind, categories),
        unseen=policy.unseen,
        outside=policy.outside,
        factor=policy.factor,
    )


def _is_none_missing(column: pd.Series) -> bool:
    return column.dtype == object and any(value is None for value in column)


def _categories(column: pd.Series, present: pd.Series, kind: str) -> tuple[Label, ...] | None:
    """Return the values of a column that takes few: all of a categorical's, or those of text that repeats."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(column.dtype.categories.tolist())
    if kind != "text":
        return None
    values = sorted(present.unique())
    if len(values) > MOST_CATEGORIES or len(present) < ROWS_PER_CATEGORY * len(values):
        return None
    return tuple(values)


def _range(present: pd.Series, kind: str) -> tuple[float, float] | tuple[None, None]:
    if kind not in ("integer", "number"):
        return None, None
    numbers = present.astype(float)
    finite = numbers[np.isfinite(numbers)]
    if finite.empty:
        return None, None
    low, high = float(finite.min()), float(finite.max())
    if kind == "integer":  # beyond 2**53 the nearest float may leave out the value that it stands for
        low = math.nextafter(low, -math.inf) if low > int(present.min()) else low
        high = math.nextafter(high, math.inf) if high < int(present.max()) else high
    return low, high


def _example(present: pd.Series, kind: str, categories: tuple[Label, ...] | None) -> Label:
    """Return a usual value; of free text, its commonest words, for that is nobody's own text."""
    if categories is not None or kind == "boolean":
        value = present.astype(object).mode().iloc[0]
    elif kind == "text":
        words: Counter[str] = Counter()
        for text in present.head(1000):
            words.update(set(re.findall(r"\w+", text.lower())))
        return " ".join(word for word, _ in sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))[:5]) or "text"
    else:
        usual = present[np.isfinite(present.astype(float))] if kind != "datetime" else present
        if usual.empty:
            raise DataRefused(f"{present.name}: holds no finite number")
        value = usual.sort_values().iloc[len(usual) // 2]
    if isinstance(value, pd.Timestamp):
        return str(value.isoformat())
    label: Label = value.item() if isinstance(value, np.generic) else value
    return label
