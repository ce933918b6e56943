"""Converters of what is made of other estimators: votes, bags, stacks, boosts, chains, calibration, and dummies."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import RANSACRegressor
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier, _ConstantPredictor
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from lifecycle.compiler.program import Converter, Converters, NotCompiled, Program
from lifecycle.compiler.steps import apply, decided, decision, labels, narrow, with_number
from lifecycle.compiler.trees import mean_leaves
from lifecycle.compiler.values import (
    Cells,
    Labels,
    Matrix,
    Records,
    Several,
    SparseMatrix,
    Table,
    Value,
    Vector,
    beside,
    doubles,
    finite,
    matrix_of,
    numbers_of,
    several,
    take,
)

TREES = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)


def _on_numbers(method: str) -> Converter:
    """Return the converter of a method that makes an array of its rows and hands it to `estimator_`."""

    def convert(model: Any, value: Value, program: Program) -> Value:
        numbers = numbers_of(value, program)
        return program.convert(model.estimator_, method, numbers)  # type: ignore[no-any-return]

    return convert


# Dummies


def _dummy_chances(dummy: DummyClassifier, value: Value, program: Program) -> Matrix | Several:
    if dummy.n_outputs_ == 1:
        return _dummy_shares(dummy, dummy.class_prior_, dummy.classes_, dummy.constant, value, program)
    constants = [None] * dummy.n_outputs_ if dummy.constant is None else np.ravel(dummy.constant)
    targets = zip(dummy.class_prior_, dummy.classes_, constants, strict=True)
    return several([_dummy_shares(dummy, *target, value, program) for target in targets], program)


def _dummy_shares(
    dummy: DummyClassifier, shares: Any, classes: Any, constant: Any, value: Value, program: Program
) -> Matrix:
    prior = np.asarray(shares, np.float64)
    rows = {
        "constant": classes == constant,
        "most_frequent": np.arange(len(prior)) == prior.argmax(),
        "prior": prior,
    }
    if dummy._strategy not in rows:
        raise NotCompiled("answers at random")
    return _repeated(_floats(rows[dummy._strategy]), value, program)


def _dummy_class(dummy: DummyClassifier, value: Value, program: Program) -> Labels | Several:
    if dummy.n_outputs_ == 1:
        return decision(_dummy_chances)(dummy, value, program)  # type: ignore[no-any-return]
    if dummy._strategy == "constant":
        given = dummy.constant
    elif dummy._strategy in ("most_frequent", "prior"):
        pairs = zip(dummy.classes_, dummy.class_prior_, strict=True)
        given = [classes[shares.argmax()] for classes, shares in pairs]
    else:
        raise NotCompiled("answers at random")
    index = program.add("largest", _repeated(np.ones(1), value, program).register)
    # One array holds all targets, as scikit-learn's does: numbers beside text become text.
    return several([labels([one], index, program) for one in np.tile(given, (1, 1))[0]], program)


def _dummy_target(dummy: DummyRegressor, value: Value, program: Program) -> Matrix | Vector:
    if dummy.constant_.dtype != np.float64:
        raise NotCompiled(f"gives {dummy.constant_.dtype} numbers")
    constants = _repeated(dummy.constant_[0], value, program)
    return constants if dummy.n_outputs_ > 1 else _flat(constants, program)


def _repeated(row: np.ndarray, value: Value, program: Program) -> Matrix:
    register = _first_register(value, program)
    return Matrix(program.add("repeat", register, arrays={"row": row}), len(row))


def _first_register(value: Value, program: Program) -> int:
    """Return a register that has as many rows as a value."""
    if isinstance(value, Records):
        value = value.table
    if isinstance(value, Table):
        return value.columns[0][0]
    if isinstance(value, Cells):
        return program.add("column", value.register, index=0)
    return value.register


# Votes


def _voted_chances(voting: VotingClassifier, value: Value, program: Program) -> Matrix:
    parts = [program.convert(one, "predict_proba", value) for one in voting.estimators_]
    return Matrix(_average(parts, voting._weights_not_none, program), len(voting.classes_))


def _voted_class(voting: VotingClassifier, value: Value, program: Program) -> Labels:
    if voting.voting == "soft":
        return decided(voting.classes_, _voted_chances(voting, value, program), program)
    weights = np.ones(len(voting.estimators_)) if voting.weights is None else _floats(voting._weights_not_none)
    if (weights < 0).any():
        raise NotCompiled("has negative weights")
    width = len(voting.classes_)
    given = [_encoded(program.convert(one, "predict", value), width, program) for one in voting.estimators_]
    counts = Matrix(_votes(given, weights, np.zeros(len(weights)), width, program), width)
    return decided(voting.classes_, counts, program)


def _voted_target(voting: VotingRegressor, value: Value, program: Program) -> Vector:
    parts = [_vector(program.convert(one, "predict", value)) for one in voting.estimators_]
    return Vector(_average(parts, voting._weights_not_none, program))


def _average(parts: Sequence[Matrix | Vector], weights: Any, program: Program) -> int:
    arrays = {} if weights is None else {"weights": _floats(weights)}
    return program.add("average", *[part.register for part in parts], arrays=arrays)


def _votes(given: Sequence[int], hits: np.ndarray, misses: np.ndarray, width: int, program: Program) -> int:
    return program.add("votes", *given, width=width, arrays={"hits": hits, "misses": misses})


# Bags


def _bagged_chances(bag: BaggingClassifier, value: Value, program: Program) -> Matrix:
    width = len(bag.classes_)
    if _is_forest(bag) and all(len(tree.classes_) == width for tree in bag.estimators_):
        forest = SimpleNamespace(estimators_=bag.estimators_, n_outputs_=1, n_classes_=width, classes_=bag.classes_)
        return mean_leaves(forest, value, program)

    def chances(estimator: Any, part: Value) -> int:
        if hasattr(estimator, "predict_proba"):
            found = program.convert(estimator, "predict_proba", part).register
            return _spread(found, estimator.classes_, width, program)
        given = _encoded(program.convert(estimator, "predict", part), width, program)
        return _votes([given], np.ones(1), np.zeros(1), width, program)

    return Matrix(_bagged(bag, chances, value, program), width)


def _bagged_scores(bag: BaggingClassifier, value: Value, program: Program) -> Matrix | Vector:
    width = len(bag.classes_)
    if any(len(estimator.classes_) != width for estimator in bag.estimators_):
        raise NotCompiled("has estimators that do not know every class")

    def scores(estimator: Any, part: Value) -> int:
        return program.convert(estimator, "decision_function", part).register  # type: ignore[no-any-return]

    register = _bagged(bag, scores, value, program)
    return Vector(register) if width == 2 else Matrix(register, width)


def _bagged_target(bag: BaggingRegressor, value: Value, program: Program) -> Matrix | Vector:
    if _is_forest(bag):
        outputs = bag.estimators_[0].n_outputs_
        means = mean_leaves(SimpleNamespace(estimators_=bag.estimators_, n_outputs_=outputs), value, program)
        return narrow(means, program)
    found: list[Matrix | Vector] = []

    def target(estimator: Any, part: Value) -> int:
        found.append(program.convert(estimator, "predict", part))
        return found[-1].register

    register = _bagged(bag, target, value, program)
    return Matrix(register, found[0].width) if isinstance(found[0], Matrix) else Vector(register)


def _is_forest(bag: Any) -> bool:
    """Return whether a bag's estimators are trees of all features: walked together, 100 of them cost what two do."""
    every = list(range(bag.n_features_in_))
    return all(type(tree) in TREES for tree in bag.estimators_) and all(
        np.arange(len(every))[features].tolist() == every for features in bag.estimators_features_
    )


def _bagged(bag: Any, answer: Callable[[Any, Value], int], value: Value, program: Program) -> int:
    """Add the mean of what the estimators answer, each to its features."""
    numbers = numbers_of(value, program)
    drawn = zip(bag.estimators_, bag.estimators_features_, strict=True)
    parts = [answer(estimator, _drawn(numbers, features, program)) for estimator, features in drawn]
    return with_number(program.add("total", *parts), "divide", len(parts), program)


def _drawn(numbers: Matrix | SparseMatrix, features: Any, program: Program) -> Value:
    indexes = np.arange(numbers.width)[features].tolist()
    if indexes == list(range(numbers.width)):
        return numbers
    return take(numbers, indexes, program)


# Stacks


def _stacked(method: str) -> Converter:
    def convert(stacking: Any, value: Value, program: Program) -> Value:
        answers = zip(stacking.estimators_, stacking.stack_method_, strict=True)
        parts = [_stacked_part(stacking, *answer, value, program) for answer in answers]
        meta = beside([*parts, value] if stacking.passthrough else parts, program)
        return program.convert(stacking.final_estimator_, method, meta)  # type: ignore[no-any-return]

    return convert


def _stacked_part(stacking: Any, estimator: Any, method: str, value: Value, program: Program) -> Value:
    found = program.convert(estimator, method, value)
    if isinstance(found, Labels):
        found = Vector(program.add("look_up", found.indexes, arrays={"numbers": _floats(found.classes)}))
    if isinstance(found, Vector):
        return _stack([found], program)
    if method == "predict_proba" and len(stacking.classes_) == 2:
        return take(found, [1], program)
    return found  # type: ignore[no-any-return]


def _stacked_class(stacking: StackingClassifier, value: Value, program: Program) -> Labels:
    if isinstance(stacking._label_encoder, list):
        raise NotCompiled("has several targets with classes")
    found = _stacked("predict")(stacking, value, program)
    return labels([stacking.classes_[code] for code in found.classes], found.indexes, program)


# Calibration


def _calibrated(model: CalibratedClassifierCV, value: Value, program: Program) -> Matrix:
    parts = [_calibrated_one(one, value, program).register for one in model.calibrated_classifiers_]
    width = len(model.classes_)
    return Matrix(with_number(program.add("total", *parts), "divide", len(parts), program), width)


def _calibrated_one(pair: Any, value: Value, program: Program) -> Matrix:
    """Add `_CalibratedClassifier.predict_proba`."""
    if len(pair.estimator.classes_) != len(pair.classes):
        raise NotCompiled("has an estimator that does not know every class")
    method = "decision_function" if hasattr(pair.estimator, "decision_function") else "predict_proba"
    found = program.convert(pair.estimator, method, value)
    if pair.method == "temperature":
        return _tempered(pair.calibrators[0], method, found, program)
    if isinstance(found, Vector):
        columns = [found]
    else:
        chosen = [1] if len(pair.classes) == 2 else range(found.width)
        columns = [Vector(program.add("pick", found.register, index=index)) for index in chosen]
    calibrate = {"isotonic": _isotonic, "sigmoid": _sigmoid}[pair.method]
    chances = [
        calibrate(calibrator, column, program) for calibrator, column in zip(pair.calibrators, columns, strict=True)
    ]
    if len(chances) == 1:
        register = program.add("complement", chances[0].register)
    else:
        register = program.add("normalize_sum", _stack(chances, program).register)
    # scikit-learn leaves what is above 1.00001, which no calibrator gives.
    return Matrix(with_number(register, "minimum", 1.0, program), len(pair.classes))


def _sigmoid(calibrator: Any, column: Vector, program: Program) -> Vector:
    scaled = with_number(column.register, "multiply", calibrator.a_, program)
    shifted = Vector(with_number(scaled, "add", calibrator.b_, program))
    return Vector(program.add("logistic", apply(shifted, "negative", program).register))


def _isotonic(regression: IsotonicRegression, value: Value, program: Program) -> Vector:
    if regression.X_thresholds_.dtype != np.float64:
        raise NotCompiled(f"was fitted with {regression.X_thresholds_.dtype} numbers")
    column = value if isinstance(value, Vector) else _flat(doubles(matrix_of(value, program), program), program)
    register = program.add("finite", column.register, allow_nan=False)
    outside = {"clip": "clip", "nan": "nan", "raise": "refuse"}[regression.out_of_bounds]
    arrays = {"at": regression.X_thresholds_, "heights": regression.y_thresholds_}
    if len(regression.y_thresholds_) == 1:  # a constant, everywhere
        outside = "clip"
    return Vector(program.add("interpolate", register, outside=outside, arrays=arrays))


def _tempered(scaling: Any, method: str, found: Matrix | Vector, program: Program) -> Matrix:
    """Add `_TemperatureScaling.predict`, where what it makes of a row does not depend on the other rows."""
    if isinstance(found, Vector):
        scores = _mirrored(found, program)
    elif method == "predict_proba":
        shifted = with_number(finite(found, program).register, "add", 1e-12, program)
        scores = apply(Matrix(shifted, found.width), "log", program)
    else:
        raise NotCompiled("calibrates decision functions of several classes by temperature")
    scaled = with_number(finite(scores, program).register, "multiply", float(scaling.beta_), program)
    return Matrix(program.add("softmax", scaled), scores.width)


# One against others


def _rest_scores(model: OneVsRestClassifier, value: Value, program: Program) -> Value:
    scores = [program.convert(one, "decision_function", value) for one in _of_classes(model).estimators_]
    return scores[0] if len(scores) == 1 else _stack([_raveled(one, program) for one in scores], program)


def _rest_chances(model: OneVsRestClassifier, value: Value, program: Program) -> Matrix:
    found = [program.convert(one, "predict_proba", value) for one in _of_classes(model).estimators_]
    chances = [program.add("pick", one.register, index=1) for one in found]
    if len(chances) == 1:
        register = program.add("complement", chances[0])
    else:
        register = _stack([Vector(one) for one in chances], program).register
    return Matrix(program.add("shares", register), len(model.classes_))


def _rest_class(model: OneVsRestClassifier, value: Value, program: Program) -> Labels:
    scores = [_binary_scores(one, value, program) for one in _of_classes(model).estimators_]
    if len(scores) == 1:
        return decided(model.classes_, scores[0], program, threshold=_threshold(model.estimators_[0]))
    return labels(model.classes_, program.add("leading", *[one.register for one in scores]), program)


def _of_classes(model: OneVsRestClassifier) -> OneVsRestClassifier:
    if model.multilabel_:
        raise NotCompiled("has several labels a row")
    if len(model.classes_) == 1:
        raise NotCompiled("knows one class")
    return model


def _duel_scores(model: OneVsOneClassifier, value: Value, program: Program) -> Matrix | Vector:
    if model.pairwise_indices_ is not None:
        raise NotCompiled("takes a kernel")
    numbers = numbers_of(value, program)
    winners = [program.convert(one, "predict", numbers) for one in model.estimators_]
    if not all(isinstance(winner, Labels) for winner in winners):
        raise NotCompiled("holds an estimator that decides for no class")
    given = [_encoded(winner, 2, program) for winner in winners]
    confidences = [_binary_scores(one, numbers, program).register for one in model.estimators_]
    width = int(model.n_classes_)
    scores = program.add("duels", *given, *confidences, width=width)
    return Vector(program.add("pick", scores, index=1)) if width == 2 else Matrix(scores, width)


def _duel_class(model: OneVsOneClassifier, value: Value, program: Program) -> Labels:
    scores = _duel_scores(model, value, program)
    return decided(model.classes_, scores, program, threshold=_threshold(model.estimators_[0]))


def _coded_class(model: OutputCodeClassifier, value: Value, program: Program) -> Labels:
    scores = _stack([_binary_scores(one, value, program) for one in model.estimators_], program)
    register = finite(scores, program).register
    return labels(model.classes_, program.add("nearest", register, arrays={"points": model.code_book_}), program)


def _binary_scores(estimator: Any, value: Value, program: Program) -> Vector:
    """Add `_predict_binary`."""
    if isinstance(estimator, _ConstantPredictor):
        return _flat(_repeated(_floats(estimator.y_), value, program), program)
    if is_regressor(estimator):
        return _vector(program.convert(estimator, "predict", value))
    if hasattr(estimator, "decision_function"):
        return _raveled(program.convert(estimator, "decision_function", value), program)
    chances = program.convert(estimator, "predict_proba", value)
    return Vector(program.add("pick", chances.register, index=1))


def _threshold(estimator: Any) -> float:
    """Return what `_threshold_for_binary_predict` gives."""
    return 0.0 if hasattr(estimator, "decision_function") and is_classifier(estimator) else 0.5


# Boosts


def _boosted_scores(model: AdaBoostClassifier, value: Value, program: Program) -> Matrix | Vector:
    width = int(model.n_classes_)
    if width == 1:
        raise NotCompiled("knows one class")
    numbers: Value = finite(numbers_of(value, program), program)
    known = list(model.classes_)
    given = [_placed(program.convert(one, "predict", numbers), known, program) for one in model.estimators_]
    weights = model.estimator_weights_[: len(given)]
    votes = _votes(given, weights, -1 / (width - 1) * weights, width, program)
    votes = with_number(votes, "divide", model.estimator_weights_.sum(), program)
    if width > 2:
        return Matrix(votes, width)
    # Products with 1 and -1 are exact, so this is the difference of the two.
    arrays = {"weights": np.array([[-1.0], [1.0]]), "intercept": np.zeros(1)}
    return Vector(program.add("flatten", program.add("affine", votes, arrays=arrays)))


def _boosted_chances(model: AdaBoostClassifier, value: Value, program: Program) -> Matrix:
    scores = _boosted_scores(model, value, program)
    if isinstance(scores, Vector):
        scores = _mirrored(scores, program)
        divisor = 2
    else:
        divisor = scores.width - 1
    return Matrix(program.add("softmax", with_number(scores.register, "divide", divisor, program)), scores.width)


def _boosted_target(model: AdaBoostRegressor, value: Value, program: Program) -> Vector:
    numbers: Value = finite(numbers_of(value, program), program)
    found = [_vector(program.convert(one, "predict", numbers)).register for one in model.estimators_]
    return Vector(program.add("weighted_median", *found, arrays={"weights": model.estimator_weights_}))


# Several targets


def _targets(model: MultiOutputRegressor, value: Value, program: Program) -> Matrix:
    return _stack([_vector(program.convert(one, "predict", value)) for one in model.estimators_], program)


def _chained_targets(chain: RegressorChain, value: Value, program: Program) -> Value:
    return _chained(chain, "predict", "predict", value, program)


def _chained_classes(method: str) -> Converter:
    """Return the converter of a chain's method: one number a target, for classes too."""

    def convert(chain: ClassifierChain, value: Value, program: Program) -> Value:
        return _chained(chain, chain.chain_method_, method, value, program)

    return convert


def _chained(chain: Any, handed_on: str, method: str, value: Value, program: Program) -> Value:
    """Add `_BaseChain._get_predictions`."""
    known: Value = doubles(finite(matrix_of(value, program), program), program)
    found: list[Value] = []
    for estimator in chain.estimators_:
        found.append(_stack([_link(estimator, method, known, program)], program))
        known = beside([known, _stack([_link(estimator, handed_on, known, program)], program)], program)
    return beside([found[place] for place in np.argsort(chain.order_).tolist()], program)


def _link(estimator: Any, method: str, value: Value, program: Program) -> Vector:
    """Add the number that a chain makes of one estimator's answer."""
    if method == "predict_log_proba":
        raise NotCompiled("hands logarithms on")
    found = program.convert(estimator, method, value)
    if isinstance(found, Labels):
        return Vector(program.add("look_up", found.indexes, arrays={"numbers": _floats(found.classes)}))
    if method == "predict_proba":
        return Vector(program.add("pick", found.register, index=1))
    return _vector(found)


def _target_classes(model: MultiOutputClassifier, value: Value, program: Program) -> Several:
    found = [program.convert(one, "predict", value) for one in model.estimators_]
    if not all(isinstance(one, Labels) for one in found):
        raise NotCompiled("holds an estimator that decides for no class")
    return several(_promoted(model.classes_, [one.indexes for one in found], program), program)


def _target_chances(model: MultiOutputClassifier, value: Value, program: Program) -> Several:
    return several([program.convert(one, "predict_proba", value) for one in model.estimators_], program)


def _promoted(classes: Sequence[np.ndarray], indexes: Sequence[int], program: Program) -> list[Labels]:
    """Add each target's class as one array of all targets holds it: whole numbers beside others become floats."""
    longest = max(len(known) for known in classes)
    together = np.asarray([np.resize(known, longest) for known in classes])
    pairs = zip(classes, together, indexes, strict=True)
    return [labels(row[: len(known)], register, program) for known, row, register in pairs]


# What they share


def _encoded(found: Labels, width: int, program: Program) -> int:
    """Add the codes from 0 to width - 1 that an estimator fitted on codes gives."""
    return _placed(found, list(range(width)), program)


def _placed(found: Labels, classes: list[Any], program: Program) -> int:
    """Add the indexes of a classifier's answers among other classes."""
    places = [classes.index(one) for one in found.classes]
    if places == list(range(len(places))):
        return found.indexes
    return program.add("cast", program.add("look_up", found.indexes, arrays={"numbers": _floats(places)}), dtype="i8")


def _spread(register: int, codes: Any, width: int, program: Program) -> int:
    if len(codes) == width:
        return register
    return program.add("spread", register, width=width, arrays={"places": np.asarray(codes, np.int64)})


def _vector(found: Value) -> Vector:
    if not isinstance(found, Vector):
        raise NotCompiled(f"holds an estimator that gives {type(found).__name__.lower()} where one number is taken")
    return found


def _raveled(found: Matrix | Vector, program: Program) -> Vector:
    if isinstance(found, Vector) or found.width > 1:
        return _vector(found)
    return _flat(found, program)


def _flat(matrix: Matrix, program: Program) -> Vector:
    if matrix.width != 1:
        raise NotCompiled("takes one column")
    return Vector(program.add("flatten", matrix.register))


def _stack(vectors: Sequence[Vector], program: Program) -> Matrix:
    return Matrix(program.add("stack", *[vector.register for vector in vectors]), len(vectors))


def _mirrored(scores: Vector, program: Program) -> Matrix:
    return _stack([apply(scores, "negative", program), scores], program)


def _floats(numbers: Any) -> np.ndarray:
    try:
        return np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NotCompiled("takes classes that are no numbers as numbers") from error


CONVERTERS: Converters = {
    AdaBoostClassifier: {
        "decision_function": _boosted_scores,
        "predict_proba": _boosted_chances,
        "predict": decision(_boosted_scores),
    },
    AdaBoostRegressor: {"predict": _boosted_target},
    BaggingClassifier: {
        "decision_function": _bagged_scores,
        "predict_proba": _bagged_chances,
        "predict": decision(_bagged_chances),
    },
    BaggingRegressor: {"predict": _bagged_target},
    CalibratedClassifierCV: {"predict_proba": _calibrated, "predict": decision(_calibrated)},
    ClassifierChain: {method: _chained_classes(method) for method in ("decision_function", "predict_proba", "predict")},
    DummyClassifier: {"predict_proba": _dummy_chances, "predict": _dummy_class},
    DummyRegressor: {"predict": _dummy_target},
    IsotonicRegression: {"predict": _isotonic},
    MultiOutputClassifier: {"predict_proba": _target_chances, "predict": _target_classes},
    MultiOutputRegressor: {"predict": _targets},
    OneVsOneClassifier: {"decision_function": _duel_scores, "predict": _duel_class},
    OneVsRestClassifier: {
        "decision_function": _rest_scores,
        "predict_proba": _rest_chances,
        "predict": _rest_class,
    },
    OutputCodeClassifier: {"predict": _coded_class},
    RANSACRegressor: {"predict": _on_numbers("predict")},
    RegressorChain: {"predict": _chained_targets},
    SelfTrainingClassifier: {
        method: _on_numbers(method) for method in ("decision_function", "predict_proba", "predict")
    },
    StackingClassifier: {
        "decision_function": _stacked("decision_function"),
        "predict_proba": _stacked("predict_proba"),
        "predict": _stacked_class,
    },
    StackingRegressor: {"predict": _stacked("predict")},
    VotingClassifier: {"predict_proba": _voted_chances, "predict": _voted_class},
    VotingRegressor: {"predict": _voted_target},
}
