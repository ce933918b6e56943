"""The two ways to a new version: run a model's train.py, or package what someone else fitted."""

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from pydantic import ValidationError

from function.contract import COMPILED, FITTED, REFERENCE, Label, Sources
from function.store import FileStore, Store
from lifecycle.changes import find_changes, find_sources
from lifecycle.data import Data
from lifecycle.data_checks import Finding, check_frames, compare
from lifecycle.decision import Cost, Decision
from lifecycle.errors import ArtifactRefused, DataRefused, Missing, NotFitted, RecipeInvalid, VerifyFailed
from lifecycle.frames import digest, read_frame
from lifecycle.gate import Costs, check_decision, judge
from lifecycle.opponents import LeftOut, borrow_champion
from lifecycle.packaging import Candidate, Fitted, Say, assemble
from lifecycle.pinning import write_pin
from lifecycle.recipe import MODELS, Recipe, Source, Where, check_columns, read_recipe, read_source, train_line
from lifecycle.reference import Reference
from lifecycle.rehearsal import rehearse_load, rehearse_rows, rehearse_unpickling
from lifecycle.signature import TRIAL_ROWS, as_input, find_form
from lifecycle.versions import (
    CHALLENGER,
    Version,
    check_name,
    find_number,
    list_numbers,
    move_alias,
    publish,
    read_aliases,
    read_version,
)


class Made(NamedTuple):
    """A new version, how its data differs from the one before, what its load took in milliseconds, what was decided.

    `changed` says what made it necessary, where that was asked.
    """

    version: Version
    findings: list[Finding]
    load_ms: dict[str, float]
    decision: Decision | None = None
    changed: tuple[str, ...] = ()


class Stays(NamedTuple):
    """The newest version, where nothing that it was made of has changed."""

    version: Version


def train(
    store: Store,
    name: str,
    say: Say,
    *,
    accept_data: bool = False,
    accept: str | None = None,
    drafts: Store | None = None,
    models: Path = MODELS,
) -> Made:
    """Run a model's train.py, hold it to its model.yaml and to the champion, and publish a version.

    `accept` is why it is wanted although the gate refuses it. Where `drafts` are given, the version is written there,
    and the store is only read. Raises RecipeInvalid, DataRefused (before anything is fitted), ArtifactRefused,
    LimitsMissed or GateRefused.
    """
    source = read_source(name, models)
    data = _load(source, say)
    return _train(store, source, data, find_sources(name, models), say, Wishes(accept_data, accept, drafts))


def train_changed(
    store: Store,
    name: str,
    say: Say,
    *,
    accept_data: bool = False,
    accept: str | None = None,
    drafts: Store | None = None,
    models: Path = MODELS,
) -> Made | Stays:
    """Train as `train` does where something has changed since the newest version, else let that version stay.

    However often it is interrupted and run again, it ends in the same state: what was published is found by its
    digests, and gets the alias that it still lacks.
    """
    source = read_source(name, models)
    data = _load(source, say)
    sources, sha256 = find_sources(name, models), digest(data.train, data.test)
    newest = _newest(store, name)
    changed = find_changes(newest.manifest, sources, sha256) if newest else ["there is no version yet"]
    if newest is None or changed:
        say(f"{' and '.join(changed)}: training")
        made = _train(store, source, data, sources, say, Wishes(accept_data, accept, drafts))
        return made._replace(changed=tuple(changed))
    say(f"nothing changed: version {newest.manifest.version} stays")
    if drafts is None and read_aliases(store, name).get(CHALLENGER) != newest.manifest.version:
        move_alias(store, name, CHALLENGER, newest.manifest.version)
    return Stays(newest)


class Wishes(NamedTuple):
    """What whoever trains wants otherwise than usual."""

    accept_data: bool = False  # although it breaks what the last version took
    accept: str | None = None  # why, although the gate refuses
    drafts: Store | None = None  # where to write, instead of publishing


def _train(store: Store, source: Source, data: Data, sources: Sources, say: Say, wishes: Wishes) -> Made:
    name = source.name
    findings = _compare(store, name, data, wishes.accept_data)
    say(f"fitting on {len(data.train)} rows")
    pipeline = _fit(source, data)
    fitted = Fitted(name, pipeline, data.train, data.test, data.targets, measured=True, trained_here=True)
    candidate = _assemble(fitted, source, say)
    candidate = replace(candidate, facts={**candidate.facts, "sources": sources})
    return _publish(store, fitted, candidate, findings, say, wishes)


def _newest(store: Store, name: str) -> Version | None:
    numbers = list_numbers(store, name)
    return read_version(store, name, numbers[-1]) if numbers else None


def package(
    store: Store,
    name: str,
    pipeline_file: Path,
    examples_file: Path,
    targets: Sequence[str],
    say: Say,
    models: Path = MODELS,
    *,
    accept_data: bool = False,
    accept: str | None = None,
) -> Made:
    """Publish a version of a pipeline that someone else fitted, described by examples.

    Raises ArtifactRefused, DataRefused, or LimitsMissed where the model has a model.yaml and targets are given.
    """
    recipe, where = _recipe(models / check_name(name) / "model.yaml")
    say("trying the artifact with the image's packages")
    rehearse_unpickling(pipeline_file)
    pipeline = joblib.load(pipeline_file)
    if not (callable(getattr(pipeline, "predict", None)) and callable(getattr(pipeline, "get_params", None))):
        text = f"{pipeline_file.name} holds a {type(pipeline).__name__}"
        raise ArtifactRefused(f"{text}, expected a scikit-learn estimator or Pipeline with predict().")
    examples = read_frame(examples_file)
    _check_targets(pipeline, examples, targets)
    if recipe:
        check_columns(recipe, examples.columns, _classes(pipeline, examples, targets), where)
    known = _known(pipeline, examples, targets)
    findings = _compare(store, name, Data(known, known, list(targets)), accept_data)
    fitted = Fitted(
        name,
        pipeline,
        examples,
        examples,
        list(targets) or _target_names(pipeline, examples),
        measured=bool(targets),
        trained_here=False,
        notes=tuple(_notes(pipeline, examples, targets)),
    )
    return _publish(store, fitted, assemble(fitted, recipe, where, say), findings, say, Wishes(accept=accept))


def _recipe(path: Path) -> tuple[Recipe | None, Callable[[str], str]]:
    """Return a model.yaml and where its keys stand; a packaged model may do without."""
    if not path.is_file():
        return None, str
    return read_recipe(path), Where(path, path.read_text(encoding="utf-8"))


def _check_targets(pipeline: Any, examples: pd.DataFrame, targets: Sequence[str]) -> None:
    there = ", ".join(map(str, examples.columns))
    faults = [f"{target} is no column; there are {there}" for target in targets if target not in examples]
    known = [target for target in targets if target in examples]
    faults += [f"{target} has missing values" for target in known if examples[target].isna().any()]
    features = _feature_names(pipeline) or []
    faults += [
        f"{target} is a feature of the pipeline, yet named as --target" for target in targets if target in features
    ]
    if faults:
        raise DataRefused("The target cannot be used:", faults)


def _feature_names(pipeline: Any) -> list[str] | None:
    """Return the columns that a pipeline was fitted on, or None where it does not know them."""
    names = getattr(pipeline, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _known(pipeline: Any, examples: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """Return the columns of the examples that matter: the pipeline's features and the targets."""
    names = _feature_names(pipeline)
    return examples[[column for column in examples if names is None or column in {*names, *targets}]]


def _classes(pipeline: Any, examples: pd.DataFrame, targets: Sequence[str]) -> list[Label] | None:
    """Return the classes of a pipeline: its own, for examples need not show them all."""
    classes = getattr(pipeline, "classes_", None)
    if classes is None:
        return _labels(examples, targets) if targets else None
    return [] if isinstance(classes, list) else np.asarray(classes).tolist()


def _labels(frame: pd.DataFrame, targets: Sequence[str]) -> list[Label]:
    """Return the values of the target in a frame, or none where there are several targets."""
    return frame[targets[0]].dropna().unique().tolist() if len(targets) == 1 else []


def _load(source: Source, say: Say) -> Data:
    """Return what load() gives, checked for what no model could be made of."""
    say("loading data")
    try:
        data = source.load()
    except Exception as error:
        text = f"load() failed at {train_line(error, source.name)}: {type(error).__name__}: {error}"
        raise RecipeInvalid(text) from error
    if not isinstance(data, Data):
        raise RecipeInvalid(f"load() of models/{source.name}/train.py returned {type(data).__name__}, expected Data")
    check_frames(data)
    check_columns(source.recipe, data.train.columns, _labels(data.train, data.targets), source.where)
    return data


def _fit(source: Source, data: Data) -> Any:
    try:
        pipeline = source.fit(data.train.copy())
    except Exception as error:
        text = f"fit() failed at {train_line(error, source.name)}: {type(error).__name__}: {error}"
        raise RecipeInvalid(text) from error
    if not callable(getattr(pipeline, "predict", None)):
        text = f"fit() of models/{source.name}/train.py returned {type(pipeline).__name__}, expected a fitted estimator"
        raise RecipeInvalid(text)
    return pipeline


def _assemble(fitted: Fitted, source: Source, say: Say) -> Candidate:
    """Return the candidate; where the pipeline is refused for what train.py made of it, say that."""
    file = f"models/{source.name}/train.py"
    try:
        return assemble(fitted, source.recipe, source.where, say)
    except NotFitted as error:
        raise RecipeInvalid(f"fit() of {file} returned a pipeline that is not fitted.") from error
    except ArtifactRefused as error:
        if f"models.{source.name}.train." not in str(error.__cause__):
            raise
        found = re.search(r"models\.[\w-]+\.train\.([\w.<>]+)", str(error.__cause__))
        text = f"{found[1] if found else 'A function'} stands in {file}, which the image does not have"
        raise ArtifactRefused(f"{text}; what the pipeline holds must come from the image's packages.") from error


def _compare(store: Store, name: str, data: Data, accept: bool) -> list[Finding]:
    """Return how the frames differ from the previous version's; raises DataRefused for what breaks the model."""
    try:
        number = find_number(store, name, None)
    except Missing:
        return []
    try:
        reference = Reference.model_validate_json(store.get(f"{name}/{number}/{REFERENCE}").content)
    except ValidationError as error:
        raise VerifyFailed(f"{REFERENCE} of {name} {number} is not what was published.") from error
    findings = compare(data, reference)
    breaking = [str(finding) for finding in findings if finding.level == "breaks"]
    if breaking and not accept:
        text = f"The data breaks what version {number} was made of; if it is meant, say --accept-data:"
        raise DataRefused(text, breaking)
    return findings


def _publish(
    store: Store, fitted: Fitted, candidate: Candidate, findings: list[Finding], say: Say, wishes: Wishes
) -> Made:
    """Rehearse a candidate, hold it to the gate, publish it and let `challenger` name it."""
    with tempfile.TemporaryDirectory() as folder:
        shelf = FileStore(Path(folder) / "store")
        champion = _borrow(store, fitted.name, shelf)
        say("rehearsing the load with the image's packages")
        draft = publish(shelf, fitted.name, candidate)
        costs = _costs(draft, champion, candidate, shelf)
        if fitted.measured:
            say("comparing it with what there is")
            decision = judge(candidate, fitted, champion, shelf, costs, wishes.accept)
            check_decision(decision, fitted.name)
            candidate = candidate.decided(decision)
    say("publishing" if wishes.drafts is None else "writing the draft")
    version = publish(wishes.drafts or store, fitted.name, candidate)
    if wishes.drafts is None:
        move_alias(store, fitted.name, CHALLENGER, version.manifest.version)
    return Made(version, findings, costs.candidate.load_ms, candidate.decision)


def _borrow(store: Store, name: str, shelf: FileStore) -> Version | LeftOut | None:
    try:
        return borrow_champion(store, name, shelf)
    except LeftOut as reason:
        return reason


def _costs(draft: Version, champion: Version | LeftOut | None, candidate: Candidate, shelf: FileStore) -> Costs:
    """Rehearse the load of both, each in a process of its own, and time their rows by turns in a third one."""
    with tempfile.TemporaryDirectory() as folder:
        own = (draft.manifest.engine, write_pin(draft, Path(folder) / "candidate"))
        result = rehearse_load(own[1], shelf.url, own[0])
        ours = Cost(one_row_ms=result["one_row_ms"], loaded_bytes=candidate.loaded_bytes, load_ms=result["parts_ms"])
        if not isinstance(champion, Version):
            return Costs(ours)
        manifest = champion.manifest
        other = (manifest.engine, write_pin(champion, Path(folder) / "champion"))
        size = manifest.files[COMPILED if manifest.engine == "numpy" else FITTED].size
        try:
            load_ms = rehearse_load(other[1], shelf.url, other[0])["parts_ms"]
        except ArtifactRefused as error:
            reason = f"What the champion costs was not measured: {'; '.join([error.message, *error.reasons])}"
            return Costs(ours, Cost(loaded_bytes=size), reason)
        by_turns = rehearse_rows(shelf.url, own, other)
        theirs = Cost(one_row_ms=by_turns[1], loaded_bytes=size, load_ms=load_ms)
        return Costs(ours.model_copy(update={"one_row_ms": by_turns[0]}), theirs)


def _notes(pipeline: Any, examples: pd.DataFrame, targets: Sequence[str]) -> list[str]:
    there = [column for column in examples.columns if column not in targets]
    names = _feature_names(pipeline)
    if names is None:
        return [f"The pipeline has no feature names; they were taken from the examples: {', '.join(map(str, there))}."]
    unused = [str(column) for column in there if column not in names]
    hint = "" if targets else " If one of them is the target, name it by --target."
    return [f"Columns of the examples that the pipeline does not know: {', '.join(unused)}.{hint}"] if unused else []


def _target_names(pipeline: Any, examples: pd.DataFrame) -> list[str]:
    """Return names for the outputs of a pipeline whose target is not known."""
    names = _feature_names(pipeline)
    frame = examples if names is None else examples[[name for name in names if name in examples]]
    head = frame.head(TRIAL_ROWS)
    shape = np.asarray(pipeline.predict(as_input(head, find_form(pipeline, frame)))).shape
    return ["prediction"] if len(shape) == 1 else [f"prediction_{index}" for index in range(shape[1])]
