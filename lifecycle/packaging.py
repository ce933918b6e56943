"""From a fitted pipeline to all of a version but its number: files, signature, metrics, limits, golden examples."""

import hashlib
import io
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from threadpoolctl import threadpool_limits

from function.call import each_class
from function.contract import (
    CARD,
    COMPILED,
    FITTED,
    GOLDEN,
    REFERENCE,
    Estimator,
    File,
    GoldenExample,
    Label,
    Limit,
    Manifest,
    Method,
    Metric,
    Privacy,
    Signature,
)
from function.contract import Data as DataFacts
from function.engines import Outputs
from function.engines.sklearn_engine import SklearnEngine
from function.errors import Detail, InvalidInstances
from function.model import LoadFailed, agree, replay
from function.validation import Instances, Validator
from lifecycle.acceptance import describe, judge
from lifecycle.card import write_card
from lifecycle.decision import DECISION, Decision
from lifecycle.errors import ArtifactRefused, DataRefused, LimitsMissed, RecipeInvalid
from lifecycle.frames import digest, raw_instances
from lifecycle.golden import golden_examples
from lifecycle.metrics import Outcome, measure, measure_all, slices
from lifecycle.proof import compile_and_prove
from lifecycle.recipe import ROOT, Acceptance, Recipe
from lifecycle.reference import summarize
from lifecycle.signature import as_input, ask, learn_features, learn_signature

ASKED_ALONE = 5
OTHERWISE = (
    "The fitted pipeline itself answers {} otherwise than among {}; callers send rows as they come, so that it cannot "
    "be served"
)
ALONE_SLACK = (
    1e6  # a Gaussian process differs by 1e-11 with the number of rows; looking at other rows differs by far more
)
LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "joblib")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline and the frames that it is described by; without `measured`, the target is unknown."""

    name: str
    pipeline: Any
    train: pd.DataFrame
    test: pd.DataFrame
    targets: list[str]
    measured: bool
    trained_here: bool  # the training frame is what the pipeline was fitted on
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A version that wants only its number."""

    files: Mapping[str, bytes]
    facts: Mapping[str, Any]
    recipe: Recipe | None
    outcomes: tuple[Outcome, ...] = ()  # of the test rows; none where the target is not known
    decision: Decision | None = None

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        signature: Signature = self.facts["signature"]
        return signature

    @property
    def positive(self) -> Label | None:
        """Of two classes, the one that metrics mean."""
        label: Label | None = self.facts["positive"]
        return label

    @property
    def loaded_bytes(self) -> int:
        """How large the file is that its serving engine loads."""
        return len(self.files[COMPILED if self.facts["engine"] == "numpy" else FITTED])

    def decided(self, decision: Decision) -> "Candidate":
        """Return the candidate with what was decided on it."""
        content = decision.model_dump_json(indent=1).encode()
        return replace(self, files={**self.files, DECISION: content}, decision=decision)

    def finish(self, number: int) -> tuple[Mapping[str, bytes], Manifest]:
        """Return all files and the manifest of the version of this number."""
        draft = self._manifest(number, self.files)
        card = write_card(draft, self.recipe.maintenance if self.recipe else None, self.decision).encode()
        files = {**self.files, CARD: card}
        return files, self._manifest(number, files)

    def _manifest(self, number: int, files: Mapping[str, bytes]) -> Manifest:
        entries = {
            name: File(sha256=hashlib.sha256(content).hexdigest(), size=len(content)) for name, content in files.items()
        }
        return Manifest(version=number, files=entries, **self.facts)


def assemble(fitted: Fitted, recipe: Recipe | None, where: Callable[[str], str], say: Say) -> Candidate:
    """Return the candidate; raises ArtifactRefused, DataRefused, or LimitsMissed with every limit that it misses."""
    # Where rows tie, what scikit-learn answers may depend on how many threads share the work: a server has one.
    with threadpool_limits(limits=1):
        return _assemble(fitted, recipe, where, say)


def _assemble(fitted: Fitted, recipe: Recipe | None, where: Callable[[str], str], say: Say) -> Candidate:
    say("learning the signature")
    task = recipe.task if recipe else ("classification" if is_classifier(fitted.pipeline) else "regression")
    columns = _feature_columns(fitted)
    features = learn_features(fitted.train[columns], recipe.inputs if recipe else {})
    signature = learn_signature(fitted.pipeline, fitted.train[columns], features, fitted.targets, task)
    _check_task(recipe, signature, where)
    content = _dump(fitted.pipeline)
    say("measuring")
    on_train = outputs_of(fitted.pipeline, signature, fitted.train[columns])
    on_test = on_train if fitted.test is fitted.train else outputs_of(fitted.pipeline, signature, fitted.test[columns])
    positive = _positive(signature, recipe)
    test = find_outcomes(fitted.test, signature, on_test, positive) if fitted.measured else []
    train = (
        find_outcomes(fitted.train, signature, on_train, positive) if fitted.measured and fitted.trained_here else None
    )
    metrics, sliced = _measure(fitted.test, test, train, task, recipe.acceptance if recipe else None)
    limits = _judge(recipe, metrics, sliced, len(content) / 1e6, where) if fitted.measured else ()
    say("holding the serving engine to the pipeline's answers")
    engine = SklearnEngine(joblib.load(io.BytesIO(content)), signature)
    refused = check_engine(engine, signature, fitted.test[columns], on_test)
    say("compiling, and proving it equal")
    frames = [fitted.train[columns]] if fitted.test is fitted.train else [fitted.train[columns], fitted.test[columns]]
    compiled, proof = compile_and_prove(content, signature, frames)
    golden = golden_examples(fitted.train[columns], signature, on_train)
    check_alike(engine, signature, golden)
    facts = {
        "model": fitted.name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "purpose": recipe.purpose if recipe else "Not stated.",
        "owner": recipe.owner if recipe else "not stated",
        "engine": "numpy" if compiled else "sklearn",
        "proof": proof,
        "signature": signature,
        "privacy": recipe.privacy if recipe else Privacy(),
        "libraries": {"python": platform.python_version()} | {name: installed(name) for name in LIBRARIES},
        "git_commit": _git_commit(),
        "data": DataFacts(
            sha256=digest(fitted.train, fitted.test),
            train_rows=len(fitted.train),
            test_rows=0 if fitted.test is fitted.train else len(fitted.test),
        ),
        "estimator": _estimator(fitted.pipeline),
        "metrics": metrics,
        "slices": {
            column: {value: found for value, found in by.items() if found == found} for column, by in sliced.items()
        },
        "limits": limits,
        "notes": fitted.notes + refused,
        "positive": positive,
        "recipe": recipe.model_dump(mode="json") if recipe else {},
    }
    files = {
        FITTED: content,
        **({COMPILED: compiled} if compiled else {}),
        REFERENCE: summarize(fitted.train, signature).model_dump_json().encode(),
        GOLDEN: "".join(f"{example.model_dump_json()}\n" for example in golden).encode(),
    }
    return Candidate(files, facts, recipe, tuple(test))


def check_engine(engine: SklearnEngine, signature: Signature, frame: pd.DataFrame, outputs: Outputs) -> tuple[str, ...]:
    """Hold the engine, fed with raw instances, to the pipeline's own answers on a frame; return notes.

    Raises ArtifactRefused at the first row that differs: an endpoint that answers otherwise must not exist.
    """
    validator = Validator(signature)
    instances = raw_instances(frame, signature.features)
    positions, fault = valid_positions(validator, instances)
    # Alone, too: a pipeline that looks at the other rows of a request gives a caller no answer to rely on.
    for asked in ([positions] if positions else []) + [[position] for position in positions[:ASKED_ALONE]]:
        rows = Instances([instances[position] for position in asked], str)
        try:
            answers = engine.predict(validator.columns(rows), signature.methods)
        except Exception as error:
            how = "Asked for one row alone" if len(asked) == 1 else "Served as JSON"
            text = f"{how}, the pipeline fails on the examples: {type(error).__name__}: {error}"
            raise ArtifactRefused(text) from error
        _hold(asked, answers, outputs, signature)
    if fault is None:
        return ()
    count = len(instances) - len(positions)
    text = f"{count} of {len(instances)} test rows would be refused by validation"
    return (f"{text}, such as {fault['at']}: expected {fault['expected']}, found {fault['found']}",)


def check_alike(engine: SklearnEngine, signature: Signature, golden: Sequence[GoldenExample]) -> None:
    """Hold the engine to golden examples as a load will; raises ArtifactRefused where a few rows answer otherwise."""
    try:
        replay(signature, engine, Validator(signature), golden)
    except LoadFailed as error:
        raise ArtifactRefused(f"{OTHERWISE.format('few rows', 'many')}:", [str(error)]) from error


def _hold(positions: list[int], answers: Outputs, outputs: Outputs, signature: Signature) -> None:
    alone = len(positions) == 1
    count = len(next(iter(outputs.values())))
    for method, values in answers.items():
        scales = [magnitude * (ALONE_SLACK if alone else 1.0) for magnitude in signature.magnitudes[method]]
        for position, value in zip(positions, values, strict=True):
            if not agree(value, _json(outputs[method][position]), scales):
                text = "Served as JSON, the examples are answered otherwise"
                text = OTHERWISE.format(f"row {position} of the examples alone", f"{count} rows") if alone else text
                here = "alone" if alone else "served"
                raise ArtifactRefused(
                    f"{text} ({method}, row {position}):",
                    [f"together: {outputs[method][position]}", f"{here}: {value}"],
                )


def valid_positions(validator: Validator, instances: list[dict[str, Any]]) -> tuple[list[int], Detail | None]:
    """Return the positions of the instances that validation accepts, and the first fault of the others."""
    positions, fault = [], None
    for position, instance in enumerate(instances):
        try:
            validator.columns(Instances([instance], lambda _, position=position: f"row {position}"))  # type: ignore[misc]
            positions.append(position)
        except InvalidInstances as error:
            fault = fault or error.details[0]
    return positions, fault


def _check_task(recipe: Recipe | None, signature: Signature, where: Callable[[str], str]) -> None:
    found = "classification" if any(output.classes for output in signature.outputs) else "regression"
    if recipe and recipe.task != found:
        raise RecipeInvalid(f"{where('task')}: task: {recipe.task}, but the pipeline is one of {found}")


def _feature_columns(fitted: Fitted) -> list[str]:
    names = getattr(fitted.pipeline, "feature_names_in_", None)
    there = [column for column in fitted.train.columns if column not in fitted.targets]
    if names is None:
        count = getattr(fitted.pipeline, "n_features_in_", len(there))
        if count != len(there):
            text = f"The pipeline takes {count} features, and the examples have {len(there)} beside the target"
            raise ArtifactRefused(f"{text}. Is one of them the target (--target), or an index?", there)
        return there
    missing = [name for name in names if name not in there]
    if missing:
        raise ArtifactRefused(
            "The pipeline was fitted on features that the examples do not have:", [str(name) for name in missing]
        )
    return [str(name) for name in names]


def _dump(pipeline: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        joblib.dump(pipeline, buffer)
    except Exception as error:
        text = f"The fitted pipeline cannot be pickled: {type(error).__name__}: {error}"
        raise ArtifactRefused(f"{text}. Functions inside it must be importable, lambdas are not.") from error
    return buffer.getvalue()


def outputs_of(pipeline: Any, signature: Signature, frame: pd.DataFrame) -> Outputs:
    """Return what the fitted pipeline itself gives for each row of a frame, as plain values."""
    rows = as_input(frame, signature.form)
    outputs: dict[Method, list[Any]] = {}
    for method in signature.methods:
        answer = ask(pipeline, method, rows)
        if isinstance(answer, list):
            outputs[method] = [list(row) for row in zip(*(np.asarray(part).tolist() for part in answer), strict=True)]
        else:
            outputs[method] = np.asarray(answer).tolist()
    return outputs


def _json(value: Any) -> Any:
    """Return an output's row as JSON would give it back: NaN becomes None."""
    if isinstance(value, list):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def _positive(signature: Signature, recipe: Recipe | None) -> Label | None:
    classes = signature.outputs[0].classes
    if len(signature.outputs) != 1 or classes is None or len(classes) != 2:
        return None
    stated = recipe.positive if recipe else None
    if stated is None:
        return classes[1]
    if stated not in classes or type(stated) is not type(classes[classes.index(stated)]):
        raise ArtifactRefused(f"positive: {stated!r} is no class; the classes are {classes[0]!r} and {classes[1]!r}.")
    return stated


def _measure(
    frame: pd.DataFrame, test: list[Outcome], train: list[Outcome] | None, task: str, acceptance: Acceptance | None
) -> tuple[dict[str, Metric], dict[str, dict[str, float]]]:
    if not test:
        return {}, {}
    sliced: dict[str, dict[str, float]] = {}
    bound = acceptance.slices if acceptance else None
    for column in bound.by if bound else ():
        if column not in frame:
            raise ArtifactRefused(f"acceptance.slices.by: there is no column {column}.")
        parts = {value: [one.take(rows) for one in test] for value, rows in slices(frame[column]).items()}
        sliced[column] = {value: measure(bound.metric, task, outcomes) for value, outcomes in parts.items() if bound}
    return measure_all(task, test, train), sliced


def find_outcomes(frame: pd.DataFrame, signature: Signature, outputs: Outputs, positive: Label | None) -> list[Outcome]:
    """Return true and predicted values per target; class labels as their positions among the classes."""
    outcomes = []
    for index, output in enumerate(signature.outputs):
        predicted = _target(outputs["predict"], index, signature)
        if output.classes is None:
            outcomes.append(Outcome(_numbers(frame[output.name]), np.ravel(predicted).astype(float), None, None, None))
            continue
        position = {label: place for place, label in enumerate(output.classes)}
        if position.keys().isdisjoint(labels := frame[output.name].tolist()):
            kinds = f"the pipeline has {list(output.classes)[:5]}, found {list(dict.fromkeys(labels))[:5]}"
            raise DataRefused(f"{output.name}: holds no class of the pipeline; {kinds}")
        chances = _target(outputs["predict_proba"], index, signature) if "predict_proba" in outputs else None
        outcomes.append(
            Outcome(
                true=np.array([position.get(label, -1) for label in labels]),
                predicted=np.array([position[label] for label in predicted]),
                chances=None if chances is None else np.array([each_class(one) for one in chances]),
                classes=np.arange(len(output.classes)),
                positive=None if positive is None else position[positive],
            )
        )
    return outcomes


def _numbers(column: pd.Series) -> np.ndarray:
    try:
        return np.asarray(column.to_numpy(dtype=float))
    except (TypeError, ValueError) as error:
        raise DataRefused(f"{column.name}: the pipeline gives numbers, the target holds none: {error}") from error


def _target(rows: list[Any], index: int, signature: Signature) -> list[Any]:
    return [row[index] for row in rows] if len(signature.outputs) > 1 else rows


def _judge(
    recipe: Recipe | None,
    metrics: dict[str, Metric],
    sliced: dict[str, dict[str, float]],
    artifact_mb: float,
    where: Callable[[str], str],
) -> tuple[Limit, ...]:
    if recipe is None:
        return ()
    limits = judge(recipe.acceptance, metrics, sliced, artifact_mb, where)
    missed = [describe(limit) for limit in limits if not limit.met]
    if missed:
        raise LimitsMissed(f"Refused: {len(missed)} of {len(limits)} limits are missed.", missed)
    return limits


def _estimator(pipeline: Any) -> Estimator:
    parameters = {
        name: text
        for name, value in sorted(pipeline.get_params(deep=True).items())
        if len(text := " ".join(repr(value).split())) <= 200 and not hasattr(value, "get_params")
    }
    return Estimator(name=f"{type(pipeline).__module__}.{type(pipeline).__qualname__}", parameters=parameters)


def _git_commit() -> str | None:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--match="]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
