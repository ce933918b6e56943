"""Converters of feature selection: all of them keep some columns."""

from typing import Any

from sklearn import feature_selection as fs
from sklearn.utils import get_tags

from lifecycle.compiler.program import Converter, Converters, Program
from lifecycle.compiler.values import Value, finite, numbers_of, take


def _kept(selector: Any, value: Value, program: Program) -> Value:
    """Add `SelectorMixin.transform`, which refuses rows for what it drops too."""
    allow_nan = bool(get_tags(selector).input_tags.allow_nan)
    known = finite(numbers_of(value, program), program, allow_nan=allow_nan)
    return take(known, selector.get_support(indices=True).tolist(), program)


def _by_estimator(method: str) -> Converter:
    """Return the converter of a method that recursive elimination hands to the estimator fitted on what it kept."""
    return lambda selector, value, program: program.convert(
        selector.estimator_, method, _kept(selector, value, program)
    )


_ELIMINATION = {
    "transform": _kept,
    **{method: _by_estimator(method) for method in ("predict", "predict_proba", "decision_function")},
}
CONVERTERS: Converters = {
    **{
        cls: {"transform": _kept}
        for cls in (
            *(fs.GenericUnivariateSelect, fs.SelectFdr, fs.SelectFpr, fs.SelectFromModel, fs.SelectFwe),
            *(fs.SelectKBest, fs.SelectPercentile, fs.SequentialFeatureSelector, fs.VarianceThreshold),
        )
    },
    **dict.fromkeys((fs.RFE, fs.RFECV), _ELIMINATION),
}
