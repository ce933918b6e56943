"""What a candidate is compared with: the champion, the champion refreshed, a constant; each asked on held-out rows."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import ValidationError
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from threadpoolctl import threadpool_limits

from function.call import usual_methods
from function.contract import FITTED, MANIFEST, REFERENCE, Label, Signature
from function.engines import Outputs
from function.engines.sklearn_engine import load_pipeline
from function.model import LoadFailed, Model, Timings, load_model
from function.store import FileStore, Store
from lifecycle.decision import Opponent
from lifecycle.errors import ArtifactRefused, DataRefused, Missing, VerifyFailed
from lifecycle.frames import raw_instances, row_hashes
from lifecycle.metrics import SMALLEST_SLICE, Outcome
from lifecycle.packaging import Fitted, find_outcomes, outputs_of, valid_positions
from lifecycle.pinning import read_whole, write_pin
from lifecycle.reference import Reference
from lifecycle.signature import as_input
from lifecycle.versions import Version, find_number, read_version

MOST_HALVED = 20_000  # training rows; more would tell the same, and take longer
LEAST_ANSWERED = 0.5  # a champion that refuses more of the rows was made for other data


class LeftOut(Exception):
    """Why an opponent cannot be compared, in words."""


class Question(NamedTuple):
    """What the candidate was asked: held-out rows of the frames, and what their answers mean."""

    fitted: Fitted
    signature: Signature
    positive: Label | None
    rows: np.ndarray  # positions in the test frame

    @property
    def test(self) -> pd.DataFrame:
        """The rows that everybody is asked."""
        return self.fitted.test.iloc[self.rows]


class Opposing(NamedTuple):
    """An opponent's answers; `rows` are positions among the rows of the question."""

    name: Opponent
    outcomes: list[Outcome]
    rows: np.ndarray
    remarks: tuple[str, ...] = ()


def borrow_champion(store: Store, name: str, shelf: FileStore) -> Version | None:
    """Copy the champion, else the newest version, to a folder of this machine; None where there is no version.

    Raises LeftOut where it is not what was published.
    """
    try:
        number = find_number(store, name, None)
    except Missing:
        return None
    try:
        version = read_version(store, name, number)
    except (Missing, VerifyFailed) as error:
        raise LeftOut(error.message) from error
    for file in version.manifest.files:
        if (content := read_whole(store, version, file)) is None:
            raise LeftOut(f"{file} of version {number} is not what was published")
        shelf.create(f"{name}/{number}/{file}", content)
    shelf.create(f"{name}/{number}/{MANIFEST}", version.content)
    return version


def ask_champion(version: Version, shelf: FileStore, question: Question) -> Opposing:
    """Return what the champion's own serving engine answers; raises LeftOut.

    Rows that its validation refuses are left out, and rows that one of the two was fitted on and the other was not.
    """
    signature = _same_question(version, question)
    names = [feature.name for feature in signature.features]
    model = _load(version, shelf)
    instances = raw_instances(question.test[names], signature.features)
    answered = np.array(valid_positions(model.validator, instances)[0], dtype=int)
    if len(answered) < max(SMALLEST_SLICE, LEAST_ANSWERED * len(instances)):
        raise LeftOut(f"it refuses {len(instances) - len(answered)} of {len(instances)} held-out rows as invalid")
    fair, remarks = _fair(version, shelf, question, names)
    rows = answered[fair[answered]]
    if len(rows) < SMALLEST_SLICE:
        text = f"it was fitted on {len(answered) - len(rows)} of the {len(instances)} held-out rows"
        raise LeftOut(f"{text}, and {len(rows)} that are new to both are too few")
    if len(rows) < len(instances):
        gone = len(instances) - len(rows)
        remarks += (
            f"{gone} of {len(instances)} held-out rows are left out of the comparison with the champion: "
            "it was fitted on them, or takes them for invalid.",
        )
    outcomes = _answers(model, question, [instances[row] for row in rows], rows)
    return Opposing("champion", outcomes, rows, remarks)


def refresh(version: Version, shelf: FileStore, question: Question) -> Opposing:
    """Return what the champion's recipe answers, fitted on the new training frame; raises LeftOut."""
    signature = _same_question(version, question)
    names = [feature.name for feature in signature.features]
    content = shelf.get(f"{version.manifest.model}/{version.manifest.version}/{FITTED}").content
    try:
        fitted = load_pipeline(content, version.manifest.libraries["scikit-learn"])
    except Exception as error:
        raise LeftOut(f"it cannot be read here: {error}") from error
    pipeline = _refitted(fitted, signature, question.fitted)
    outputs = _outputs(pipeline, signature, question.test[names])
    try:
        outcomes = find_outcomes(question.test, signature, outputs, question.positive)
    except (DataRefused, LookupError) as error:
        raise LeftOut(f"its answers are not those that it gave: {error}") from error
    return Opposing("refreshed", outcomes, np.arange(len(question.rows)))


def halves(question: Question) -> tuple[Opposing, Question, list[Outcome]]:
    """Fit the candidate's pipeline on half of the training rows; raises LeftOut where that cannot be.

    Returns its answers on the held-out rows, and on the other half as a question of its own. Whether labels belong to
    their rows shows there, and not on held-out rows: what a model of mixed-up labels answers is no noise but some
    function of the columns, and columns that tell much make most functions of them seem to know something. Of twelve
    churn models with mixed labels one had a roc_auc of 0.62 on held-out rows, eight standard errors above 0.5. A half's
    labels, where they are mixed up, have nothing to do with what a model of the other half says.
    """
    train = question.fitted.train
    if len(train) < 2 * SMALLEST_SLICE:
        raise LeftOut(f"{len(train)} training rows are too few to be halved")
    drawn = np.random.default_rng(0).permutation(len(train))[:MOST_HALVED]
    one, other = (train.iloc[np.sort(half)] for half in np.array_split(drawn, 2))
    parts = replace(question.fitted, train=one, test=other)
    rest = Question(parts, question.signature, question.positive, np.arange(len(other)))
    pipeline = _refitted(question.fitted.pipeline, question.signature, parts)
    names = [feature.name for feature in question.signature.features]
    on_test, on_rest = (
        find_outcomes(asked, rest.signature, _outputs(pipeline, rest.signature, asked[names]), rest.positive)
        for asked in (question.test, other)
    )
    return Opposing("half", on_test, np.arange(len(question.rows))), rest, on_rest


def constant(question: Question) -> Opposing:
    """Return what somebody answers who knows the training rows' targets and nothing else: shares, or the mean."""
    train, outcomes = question.fitted.train, []
    for output in question.signature.outputs:
        known, asked = train[output.name], question.test[output.name]
        if output.classes is None:
            outcomes.append(_same_number(known, asked, float(known.astype(float).mean())))
            continue
        place = {label: index for index, label in enumerate(output.classes)}
        shares = np.bincount([place[one] for one in known.tolist() if one in place], minlength=len(place)) / len(known)
        outcomes.append(
            Outcome(
                true=np.array([place.get(label, -1) for label in asked.tolist()]),
                predicted=np.full(len(asked), shares.argmax()),
                chances=np.tile(shares, (len(asked), 1)),
                classes=np.arange(len(place)),
                positive=None if question.positive is None else place[question.positive],
            )
        )
    return Opposing("constant", outcomes, np.arange(len(question.rows)))


def medians(question: Question) -> list[Outcome]:
    """Return the answers of the constant whose absolute errors are least: of numbers, the training rows' median."""
    train = question.fitted.train
    return [
        _same_number(train[output.name], question.test[output.name], float(train[output.name].astype(float).median()))
        for output in question.signature.outputs
    ]


def _same_number(known: pd.Series, asked: pd.Series, number: float) -> Outcome:
    return Outcome(asked.to_numpy(dtype=float), np.full(len(asked), number), None, None, None)


def _same_question(version: Version, question: Question) -> Signature:
    """Return the signature of a version that can be asked what the candidate was asked; raises LeftOut."""
    signature = version.manifest.signature
    for there, here in ((signature.task, question.signature.task), *_targets(signature, question.signature)):
        if there != here:
            raise LeftOut(f"it was made for another target: {there}, which now is {here}")
    missing = [feature.name for feature in signature.features if feature.name not in question.test]
    if missing:
        raise LeftOut(f"it asks for {', '.join(missing)}, which the data no longer has")
    return signature


def _targets(there: Signature, here: Signature) -> list[tuple[str, str]]:
    texts = [
        "; ".join(
            f"{one.name}" + (f" of {', '.join(map(repr, one.classes))}" if one.classes else "") for one in outputs
        )
        for outputs in (there.outputs, here.outputs)
    ]
    return [(texts[0], texts[1])]


def _load(version: Version, shelf: FileStore) -> Model:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return load_model(write_pin(version, Path(folder)), lambda: shelf, Timings())
        except LoadFailed as error:
            raise LeftOut(f"it cannot be loaded here: {error}") from error


def _answers(model: Model, question: Question, instances: list[dict[str, Any]], rows: np.ndarray) -> list[Outcome]:
    from function.validation import Instances

    try:
        with threadpool_limits(limits=1):
            columns = model.validator.columns(Instances(instances, str))
            outputs = model.engine.predict(columns, usual_methods(model.signature))
        return find_outcomes(question.test.iloc[rows], model.signature, outputs, question.positive)
    except DataRefused as error:
        raise LeftOut(error.message) from error
    except Exception as error:
        raise LeftOut(f"it fails on the held-out rows: {type(error).__name__}: {error}") from error


def _fair(
    version: Version, shelf: FileStore, question: Question, names: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Tell which rows are as new to the champion as to the candidate.

    A model is better on rows that it was fitted on; a new split puts three in four of the old training rows of a
    random quarter to the test. Rows that both were fitted on (the data holds some twice) favour neither.
    """
    number = version.manifest.version
    try:
        reference = Reference.model_validate_json(shelf.get(f"{version.manifest.model}/{number}/{REFERENCE}").content)
    except ValidationError as error:
        raise LeftOut(f"{REFERENCE} of version {number} cannot be read") from error
    asked = row_hashes(question.test[list(names)])
    found = reference.trained_on(asked)
    if found is None:
        text = f"It is not known which rows version {number} was fitted on; on those it looks better than it is."
        return np.ones(len(asked), dtype=bool), (text,)
    seen, known = found
    return known & (seen == np.isin(asked, row_hashes(question.fitted.train[list(names)]))), ()


def _refitted(fitted: Any, signature: Signature, frames: Fitted) -> Any:
    """Return a pipeline's recipe fitted on the training frame; raises LeftOut where it cannot be."""
    _check_refittable(fitted)
    names, targets = [feature.name for feature in signature.features], frames.targets
    wanted = frames.train[targets[0] if len(targets) == 1 else targets]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its owner has seen them when it was made
            return clone(fitted).fit(as_input(frames.train[names], signature.form), wanted)
    except Exception as error:  # whatever it is made of, and whatever that makes of other rows
        text = " ".join(str(error).split())[:300]
        raise LeftOut(f"it cannot be fitted anew: {type(error).__name__}: {text}") from error


def _outputs(pipeline: Any, signature: Signature, frame: pd.DataFrame) -> Outputs:
    try:
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return outputs_of(pipeline, signature, frame)
    except ArtifactRefused as error:
        raise LeftOut("; ".join([error.message, *error.reasons])) from error


def _check_refittable(pipeline: Any) -> None:
    """Refuse what clone() hands on as it is: an estimator that somebody froze would answer from the old rows."""
    parts = [pipeline, *pipeline.get_params(deep=True).values()]
    if any(isinstance(part, FrozenEstimator) for part in parts):
        raise LeftOut("a part of it is frozen and cannot be fitted anew")
