"""Converters of linear models: weighted sums, and the links and decisions that classifiers add."""

from typing import Any

import numpy as np
from sklearn import linear_model as lm
from sklearn.svm import LinearSVC, LinearSVR

from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import affine, chances_of, decision, dense, linked, with_number
from lifecycle.compiler.values import Matrix, Value, Vector


def _regression(model: Any, value: Value, program: Program) -> Value:
    _check_float64(model.coef_)
    return affine(dense(model.coef_), model.intercept_, value, program)


def _glm(model: Any, value: Value, program: Program) -> Value:
    _check_float64(model.coef_)
    return linked(model._base_loss, affine(model.coef_, model.intercept_, value, program), program)


def _scores(model: Any, value: Value, program: Program) -> Matrix | Vector:
    """Add `LinearClassifierMixin.decision_function`."""
    _check_float64(model.coef_)
    coefficients = dense(model.coef_)
    if coefficients.ndim == 2 and len(coefficients) == 1:
        coefficients = coefficients[0]
    return affine(coefficients, model.intercept_, value, program)


def _chances(model: Any, value: Value, program: Program) -> Matrix:
    """Add `LogisticRegression.predict_proba`."""
    return chances_of(_scores(model, value, program), program)


def _sgd_chances(model: Any, value: Value, program: Program) -> Matrix:
    """Add `SGDClassifier.predict_proba`: of the modified Huber loss, scores cut to -1 and 1 as shares."""
    scores = _scores(model, value, program)
    if model.loss == "log_loss":
        chances = program.add("logistic", scores.register)
    else:
        chances = scores.register
        for ufunc, number in (("maximum", -1.0), ("minimum", 1.0), ("add", 1.0), ("divide", 2.0)):
            chances = with_number(chances, ufunc, number, program)
    if isinstance(scores, Vector):
        return Matrix(program.add("complement", chances), 2)
    return Matrix(program.add("normalize_sum", chances), scores.width)


def _check_float64(array: Any) -> None:
    if array.dtype != np.float64:
        raise NotCompiled(f"was fitted with {array.dtype} numbers")


_CLASSIFIER = {"decision_function": _scores, "predict": decision(_scores)}
_REGRESSORS = (
    *(lm.ARDRegression, lm.BayesianRidge, lm.ElasticNet, lm.ElasticNetCV, lm.HuberRegressor, lm.Lars, lm.LarsCV),
    *(lm.Lasso, lm.LassoCV, lm.LassoLars, lm.LassoLarsCV, lm.LassoLarsIC, lm.LinearRegression, lm.MultiTaskElasticNet),
    *(lm.MultiTaskElasticNetCV, lm.MultiTaskLasso, lm.MultiTaskLassoCV, lm.OrthogonalMatchingPursuit),
    *(lm.OrthogonalMatchingPursuitCV, lm.PassiveAggressiveRegressor, lm.QuantileRegressor, lm.Ridge, lm.RidgeCV),
    *(lm.SGDRegressor, lm.TheilSenRegressor, LinearSVR),
)
_CLASSIFIERS = (lm.PassiveAggressiveClassifier, lm.Perceptron, lm.RidgeClassifier, lm.RidgeClassifierCV, LinearSVC)
CONVERTERS: Converters = {
    **{cls: {"predict": _regression} for cls in _REGRESSORS},
    **{cls: {"predict": _glm} for cls in (lm.GammaRegressor, lm.PoissonRegressor, lm.TweedieRegressor)},
    **dict.fromkeys(_CLASSIFIERS, _CLASSIFIER),
    **{cls: {**_CLASSIFIER, "predict_proba": _chances} for cls in (lm.LogisticRegression, lm.LogisticRegressionCV)},
    lm.SGDClassifier: {**_CLASSIFIER, "predict_proba": _sgd_chances},
}
