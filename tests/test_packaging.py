"""From someone else's fitted pipeline to a version: every kind of artifact and example that is taken, or refused."""

import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import NMF
from sklearn.dummy import DummyClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from function.contract import FITTED, Manifest
from function.engines.sklearn_engine import SklearnEngine
from function.model import read_golden
from function.store import FileStore
from lifecycle import metrics, training
from lifecycle.errors import ArtifactRefused, DataRefused, LifecycleError, LimitsMissed, RecipeInvalid
from lifecycle.packaging import Fitted, assemble
from lifecycle.recipe import read_recipe
from lifecycle.training import Made, package
from tests.test_recipe import RECIPE, write_model
from tests.toys import TOYS, Toy, publish_toy


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure with few resamples: intervals are not what these tests are about."""
    monkeypatch.setattr(metrics, "RESAMPLES", 3)


@pytest.fixture
def unrehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the processes that try the artifact, which test_rehearsal.py is about."""
    monkeypatch.setattr(training, "rehearse_unpickling", lambda _: {})
    monkeypatch.setattr(training, "rehearse_load", lambda *_: {"parts_ms": {}, "one_row_ms": 0.1})


def packaged(
    folder: Path,
    pipeline: Any,
    examples: pd.DataFrame,
    *targets: str,
    dump: Callable[..., Any] = joblib.dump,
    examples_name: str = "examples.csv",
    accept_data: bool = False,
) -> Made:
    """Package a pipeline from files, as the command line does; there is a model.yaml where the folder has one."""
    file, rows = folder / "pipeline.joblib", folder / examples_name
    dump(pipeline, file)
    if rows.suffix == ".csv":
        examples.to_csv(rows, index=False)
    else:
        examples.to_parquet(rows)
    store, models = FileStore(folder / "store"), folder / "models"
    return package(store, "toy", file, rows, targets, lambda _: None, models, accept_data=accept_data)


def manifest_of(made: Made) -> Manifest:
    """Return the manifest of what was made."""
    return made.version.manifest


def plain_pickle(pipeline: Any, file: Path) -> None:
    """Write a pipeline as pickle.dump does."""
    file.write_bytes(pickle.dumps(pipeline))


def assembled(pipeline: Any, frame: pd.DataFrame, *targets: str) -> Manifest:
    """Return the manifest of a pipeline that was fitted on a frame."""
    fitted = Fitted("toy", pipeline, frame, frame, list(targets), measured=True, trained_here=True)
    return assemble(fitted, None, str, lambda _: None).finish(1)[1]


def refused(error: type[LifecycleError], folder: Path, pipeline: Any, examples: pd.DataFrame, *targets: str) -> str:
    """Return the refusal of a pipeline; nothing is published then."""
    with pytest.raises(error) as caught:
        packaged(folder, pipeline, examples, *targets)
    assert not (folder / "store").exists()
    return str(caught.value)


def test_a_joblib_file_with_csv_and_target_is_measured(tmp_path: Path) -> None:
    """With a target the metrics are those on the examples, of which nobody knows whether training had them."""
    toy = TOYS["binary"]()
    made = packaged(tmp_path, toy.pipeline, toy.frame.astype({"plan": "category"}), "label")
    found = manifest_of(made)
    assert (found.model, found.version, found.notes) == ("toy", 1, ())
    assert found.metrics["accuracy"].value == toy.pipeline.score(toy.features, toy.frame.label)
    assert found.metrics["accuracy"].train is None
    assert (found.positive, found.signature.outputs[0].classes) == ("yes", ("no", "yes"))
    assert set(made.load_ms) == {"import", "fetch", "verify", "load", "replay"}


def test_a_pickle_with_parquet_and_without_target_is_not_measured(tmp_path: Path) -> None:
    """Without a target nothing is measured, and the card says so; columns that nobody needs are noted."""
    toy = TOYS["binary"]()
    made = packaged(tmp_path, toy.pipeline, toy.frame, dump=plain_pickle, examples_name="examples.parquet")
    found = manifest_of(made)
    assert (found.metrics, found.limits) == ({}, ())
    unknown = "Columns of the examples that the pipeline does not know: label."
    assert found.notes == (f"{unknown} If one of them is the target, name it by --target.",)
    assert [feature.name for feature in found.signature.features] == list(toy.features.columns)
    assert "Not measured: no target was given." in (tmp_path / "store/toy/1/card.md").read_text()


def test_every_file_is_in_the_manifest_with_its_digest(tmp_path: Path, unrehearsed: None) -> None:
    """The manifest holds each file's SHA-256 and size, and the fitted pipeline answers as it did."""
    toy = TOYS["truth"]()
    found = manifest_of(packaged(tmp_path, toy.pipeline, toy.frame, "label"))
    folder = tmp_path / "store/toy/1"
    assert {file.name for file in folder.iterdir()} == {*found.files, "manifest.json", "claim"}
    for name, file in found.files.items():
        content = (folder / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size)
    assert (
        joblib.load(folder / FITTED).predict(toy.features[["age"]]).tolist()
        == toy.pipeline.predict(toy.features).tolist()
    )


SHAPES = {
    "bare-estimator": (
        lambda frame: LogisticRegression().fit(frame[["age"]], frame.label),
        ["label"],
        ["label"],
        "frame",
    ),
    "without-feature-names": (
        lambda frame: LogisticRegression().fit(frame[["age"]].to_numpy(), frame.label),
        ["label"],
        ["label"],
        "array",
    ),
    "several-numbers": (
        lambda frame: DecisionTreeRegressor().fit(frame[["age"]], frame[["income", "double"]]),
        ["income", "double"],
        ["income", "double"],
        "frame",
    ),
    "several-numbers-untold": (
        lambda frame: DecisionTreeRegressor().fit(frame[["age"]], frame[["income", "double"]]),
        [],
        ["prediction_0", "prediction_1"],
        "frame",
    ),
    "one-number-in-a-column": (
        lambda frame: LinearRegression().fit(frame[["age"]], frame[["income"]]),
        ["income"],
        ["income"],
        "frame",
    ),
    "untold": (lambda frame: LinearRegression().fit(frame[["age"]], frame.income), [], ["prediction"], "frame"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_pipelines_of_every_shape_are_packaged(case: str, tmp_path: Path, unrehearsed: None) -> None:
    """Bare estimators, no feature names, several outputs, an unknown target: each is described as it is."""
    fit, targets, outputs, form = SHAPES[case]
    frame = TOYS["several-numbers"]().frame.assign(label=lambda f: f.age > 50, income=lambda f: f.income + f.age)
    kept = [*dict.fromkeys(["age", *targets])]
    found = manifest_of(packaged(tmp_path, fit(frame), frame[kept], *targets))
    assert [output.name for output in found.signature.outputs] == outputs
    assert [feature.name for feature in found.signature.features] == ["age"]
    assert found.signature.form == form
    assert bool(found.metrics) == bool(targets)
    if form == "array":
        assert found.notes == ("The pipeline has no feature names; they were taken from the examples: age.",)


def test_a_number_in_a_column_is_measured_like_a_number(tmp_path: Path, unrehearsed: None) -> None:
    """A regression fitted on a frame of one target gives lists of one, and its error is still that of each row."""
    frame = TOYS["regression"]().frame.assign(income=lambda f: f.income + f.age)
    pipeline = LinearRegression().fit(frame[["age"]], frame[["income"]])
    found = manifest_of(packaged(tmp_path, pipeline, frame, "income"))
    errors = (pipeline.predict(frame[["age"]])[:, 0] - frame.income).abs()
    assert found.metrics["mae"].value == pytest.approx(errors.mean())


NOT_TAKEN: dict[str, tuple[Any, str]] = {
    "dictionary": ({"model": LogisticRegression()}, "pipeline.joblib holds a dict, expected a scikit-learn estimator"),
    "transformer": (
        StandardScaler(),
        "holds a StandardScaler, expected a scikit-learn estimator or Pipeline with pred",
    ),
    "array": (np.zeros(3), "holds a ndarray, expected"),
    "unfitted": (LogisticRegression(), "The pipeline is not fitted."),
    "unfitted-pipeline": (make_pipeline(StandardScaler(), LogisticRegression()), "The pipeline is not fitted."),
    "class": (LogisticRegression, "does not take the examples"),
    "tree-inside": (DecisionTreeRegressor().fit([[0.0], [1.0]], [0, 1]).tree_, "holds a Tree, expected"),
}


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_what_is_no_fitted_estimator_is_refused(case: str, tmp_path: Path, unrehearsed: None) -> None:
    """What cannot predict is refused by what it is."""
    content, expected = NOT_TAKEN[case]
    assert expected in refused(ArtifactRefused, tmp_path, content, pd.DataFrame({"x": [1.0, 2.0]}))


@pytest.fixture
def toy() -> Toy:
    """Return a classifier of two labels by one number."""
    frame = TOYS["truth"]().frame.assign(label=lambda f: f.label.map({True: "yes", False: "no"}))
    return Toy(LogisticRegression().fit(frame[["age"]], frame.label), frame, ["label"])


WRONG_EXAMPLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], list[str], type[LifecycleError], str]] = {
    "feature-missing": (lambda f: f.drop(columns="age").assign(a=1), ["label"], ArtifactRefused, "not have:\n  - age"),
    "target-missing": (lambda f: f, ["lable"], DataRefused, "lable is no column; there are age, label"),
    "target-with-gaps": (
        lambda f: f.assign(label=f.label.where(f.index > 9)),
        ["label"],
        DataRefused,
        "label has missing",
    ),
    "other-labels": (lambda f: f.assign(label=1), ["label"], DataRefused, "the pipeline has ['no', 'yes'], found [1]"),
    "two-targets": (
        lambda f: f.assign(b=1),
        ["label", "b"],
        ArtifactRefused,
        "gives 1 outputs a row, the targets are 2",
    ),
    "text-for-number": (lambda f: f.assign(age="old"), ["label"], ArtifactRefused, "could not convert string to float"),
    "missing-in-row-50": (
        lambda f: f.assign(age=f.age.where(f.index != 50)),
        ["label"],
        ArtifactRefused,
        "fails on the 120 rows:\n  - ValueError: Input X contains NaN",
    ),
    "all-missing": (lambda f: f.assign(age=None), ["label"], LifecycleError, "age"),
    "no-rows": (lambda f: f.iloc[:0], ["label"], DataRefused, "examples.csv holds no rows"),
}


@pytest.mark.parametrize("case", WRONG_EXAMPLES)
def test_examples_that_do_not_fit_are_refused(case: str, toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """Examples must hold every feature and the target, with values that the pipeline can take."""
    change, targets, error, expected = WRONG_EXAMPLES[case]
    assert expected in refused(error, tmp_path, toy.pipeline, change(toy.frame), *targets)


def test_text_is_no_target_of_a_regression(tmp_path: Path, unrehearsed: None) -> None:
    """A regression is not measured on labels."""
    frame = TOYS["regression"]().frame
    pipeline = LinearRegression().fit(frame[["age"]], frame.income)
    reason = refused(DataRefused, tmp_path, pipeline, frame.assign(income="much"), "income")
    assert reason.startswith("income: the pipeline gives numbers, the target holds none")


UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "empty-csv": ("examples.csv", b"", "examples.csv cannot be read: No columns"),
    "broken-csv": ("examples.csv", b'a,b\n1,2\n"', "examples.csv cannot be read"),
    "csv-not-utf8": ("examples.csv", b"a\n\xff\xfe\n", "examples.csv cannot be read"),
    "no-parquet": ("examples.parquet", b"a,b\n1,2\n", "examples.parquet cannot be read"),
    "other-format": ("examples.xlsx", b"PK", "Examples are read from .csv or .parquet, found examples.xlsx."),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_examples_that_cannot_be_read_are_refused(case: str, toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """A file that is no table is refused by name."""
    name, content, expected = UNREADABLE[case]
    file, rows = tmp_path / "pipeline.joblib", tmp_path / name
    joblib.dump(toy.pipeline, file)
    rows.write_bytes(content)
    with pytest.raises(DataRefused, match=re.escape(expected)):
        package(FileStore(tmp_path / "store"), "toy", file, rows, [], lambda _: None, tmp_path / "models")


def test_a_model_yaml_holds_for_packaged_models_too(toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """Where the model has a model.yaml, its limits are held, its owner named, its names checked."""
    write_model(tmp_path / "models", "toy", RECIPE.replace("Yes", "yes"), None)
    found = manifest_of(packaged(tmp_path, toy.pipeline, toy.frame, "label"))
    assert [(limit.name, limit.met) for limit in found.limits] == [("roc_auc", True)]
    assert found.owner == "owner@example.com"
    assert manifest_of(packaged(tmp_path, toy.pipeline, toy.frame, accept_data=True)).limits == ()


def test_examples_are_compared_with_the_last_versions(toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """Another model under a name that is taken is refused until its data is accepted; what changed is handed back."""
    other = toy.frame.rename(columns={"age": "years"})
    pipeline = LogisticRegression().fit(other[["years"]], other.label)
    assert packaged(tmp_path, toy.pipeline, toy.frame, "label").findings == []
    assert packaged(tmp_path, toy.pipeline, toy.frame.assign(unused=1), "label").findings == []
    with pytest.raises(DataRefused, match=r"version 2 was made of; if it is meant, say --accept-data") as caught:
        packaged(tmp_path, pipeline, other, "label")
    assert caught.value.reasons == ["age: expected a column, found none"]
    made = packaged(tmp_path, pipeline, other, "label", accept_data=True)
    assert manifest_of(made).version == 3
    assert [str(finding) for finding in made.findings] == [
        "age: expected a column, found none",
        "years: expected no such column, found a new one",
    ]


def test_a_target_that_is_not_named_any_more_is_refused(toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """A version that could be measured is not followed unseen by one that cannot."""
    packaged(tmp_path, toy.pipeline, toy.frame, "label")
    with pytest.raises(DataRefused) as caught:
        packaged(tmp_path, toy.pipeline, toy.frame)
    assert caught.value.reasons == ["label: expected a target column, found none"]


def test_a_target_is_no_feature_of_the_pipeline(toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """What the pipeline was fitted on cannot be what it is measured against."""
    reason = refused(DataRefused, tmp_path, toy.pipeline, toy.frame, "age")
    assert reason == "The target cannot be used:\n  - age is a feature of the pipeline, yet named as --target"


def test_the_classes_are_the_pipelines_own(toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """Examples need not show both classes of a pipeline for `positive` to name one of them."""
    recipe = RECIPE.replace("Yes", "yes").replace("roc_auc", "accuracy").replace("0.5}", "0}")
    write_model(tmp_path / "models", "toy", recipe, None)
    found = manifest_of(packaged(tmp_path, toy.pipeline, toy.frame[toy.frame.label == "no"], "label"))
    assert found.positive == "yes"


def test_a_metric_that_cannot_be_measured_says_why(tmp_path: Path, unrehearsed: None) -> None:
    """A limit on the Brier score of three classes is missed with the reason."""
    recipe = RECIPE.replace('positive: "Yes"\n', "").replace("roc_auc: {min", "brier: {max")
    write_model(tmp_path / "models", "toy", recipe, None)
    toy = TOYS["multiclass"]()
    pipeline = LogisticRegression(max_iter=1000).fit(toy.features, toy.frame.species)
    reason = refused(LimitsMissed, tmp_path, pipeline, toy.frame, "species")
    assert "brier (it is for two classes): at most 0.5 expected, could not be measured" in reason


STRICT = {
    "metric-of-nothing": (RECIPE.replace("roc_auc", "rocauc"), RecipeInvalid, "did you mean roc_auc?"),
    "limit": (
        RECIPE.replace("Yes", "yes").replace("0.5}", "1.5}"),
        LimitsMissed,
        "roc_auc: at least 1.5 expected, found",
    ),
    "positive": (RECIPE, RecipeInvalid, "model.yaml:4: positive: 'Yes' is no class"),
    "privacy": (RECIPE.replace("Yes", "yes").replace("hash: []", "hash: [ag]"), RecipeInvalid, "has no column ag"),
    "task": (
        RECIPE.replace('positive: "Yes"\n', "").replace("classification", "regression").replace("roc_auc", "mae"),
        RecipeInvalid,
        "model.yaml:3: task: regression, but the pipeline is one of classification",
    ),
    "recipe": (RECIPE.replace("task", "tsak"), RecipeInvalid, "model.yaml:3: tsak is not known here"),
}


@pytest.mark.parametrize("case", STRICT)
def test_a_model_yaml_that_does_not_fit_is_said(case: str, toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """A missed limit, a wrong class, column or task: each is named with its line."""
    recipe, error, expected = STRICT[case]
    write_model(tmp_path / "models", "toy", recipe, None)
    assert expected in refused(error, tmp_path, toy.pipeline, toy.frame, "label")


def test_a_slice_without_enough_rows_does_not_pass_unseen(toy: Toy, tmp_path: Path, unrehearsed: None) -> None:
    """A limit on slices of which none can be measured is missed."""
    sliced = "{roc_auc: {min: 0.5}}, slices: {by: [shop], metric: roc_auc, min: 0}"
    recipe = RECIPE.replace("Yes", "yes").replace(
        "acceptance:\n  metrics: {roc_auc: {min: 0.5}}", f"acceptance: {{metrics: {sliced}}}"
    )
    write_model(tmp_path / "models", "toy", recipe, None)
    shops = toy.frame.assign(shop=[f"shop {index}" for index in range(len(toy.frame))])
    reason = refused(LimitsMissed, tmp_path, toy.pipeline, shops, "label")
    assert "roc_auc by shop, of which no value has enough rows: at least 0 expected, could not be measured" in reason


OTHERWISE: dict[str, tuple[Any, str, str]] = {
    "by-index": (pd.DataFrame.sort_index, "Served as JSON, the examples are answered otherwise", "served"),
    "by-other-rows": (pd.DataFrame.rank, "answers row 0 of the examples alone otherwise than among", "alone"),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_a_pipeline_that_answers_otherwise_as_json_is_refused(case: str, toy: Toy) -> None:
    """What depends on the frame's index or on the other rows of a request has no answer that a caller could rely on."""
    function, expected, how = OTHERWISE[case]
    frame = toy.frame.sample(frac=1, random_state=1)
    pipeline = make_pipeline(FunctionTransformer(function), LogisticRegression(C=1e-3))
    pipeline.fit(frame[["age"]], frame.label)
    with pytest.raises(ArtifactRefused, match=expected) as caught:
        assembled(pipeline, frame, "label")
    assert [reason.split(":")[0] for reason in caught.value.reasons] == ["together", how]


@pytest.mark.filterwarnings("ignore")  # of convergence
def test_what_solves_for_all_rows_at_once_is_refused() -> None:
    """A factorization whose iterations end when all rows together are near enough has no answer for one of them."""
    frame = pd.DataFrame(np.random.default_rng(0).gamma(2.0, 1.0, (60, 4)), columns=list("abcd"))
    frame["label"] = np.where(frame.a > frame.b, "yes", "no")
    pipeline = make_pipeline(NMF(2, init="nndsvda", random_state=0), LogisticRegression())
    pipeline.fit(frame[list("abcd")], frame.label)
    with pytest.raises(ArtifactRefused, match="The fitted pipeline itself answers"):
        assembled(pipeline, frame, "label")


def test_last_bits_may_differ_with_the_number_of_rows() -> None:
    """A Gaussian process gives a row alone almost what it gives among others, which is no reason to refuse it."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=60), "b": random.integers(0, 9, 60)}).assign(
        u=lambda f: f.a * 2 + f.b
    )
    pipeline = GaussianProcessRegressor().fit(frame[["a", "b"]], frame.u)
    assert assembled(pipeline, frame, "u").metrics["r2"].value > 0.9


def test_an_engine_that_fails_on_the_examples_is_a_refusal(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails only when it is served is refused with its reason, and is no crash."""

    def fail(*_: Any) -> None:
        raise TypeError("data type not understood")

    monkeypatch.setattr(SklearnEngine, "predict", fail)
    with pytest.raises(
        ArtifactRefused, match="the pipeline fails on the examples: TypeError: data type not understood"
    ):
        assembled(toy.pipeline, toy.frame, "label")


def test_a_function_that_cannot_be_pickled_is_refused(toy: Toy) -> None:
    """A lambda inside the pipeline is refused with what to do."""
    pipeline = make_pipeline(FunctionTransformer(lambda rows: rows), toy.pipeline)
    with pytest.raises(ArtifactRefused, match=r"cannot be pickled: .*must be importable, lambdas are not"):
        assembled(pipeline, toy.frame, "label")


def test_rows_that_validation_refuses_are_noted_and_no_examples(toy: Toy) -> None:
    """Test rows that callers could not send are counted in a note, and golden examples are made of the others."""
    frame = toy.frame.assign(age=toy.frame.age.astype(float))
    frame.loc[[3, 4], "age"] = np.inf
    pipeline = DummyClassifier().fit(frame[["age"]], frame.label)
    fitted = Fitted("toy", pipeline, frame, frame, ["label"], measured=False, trained_here=True)
    files, manifest = assemble(fitted, None, str, lambda _: None).finish(1)
    assert manifest.notes == (
        "2 of 120 test rows would be refused by validation, such as row 3/age: expected a number, found Infinity",
    )
    ages = [example.instance["age"] for example in read_golden(files["golden.jsonl"])]
    assert ages
    assert None not in ages


def test_the_digest_follows_the_data(toy: Toy) -> None:
    """The same rows give the same digest whatever their index; another value gives another."""
    first = assembled(toy.pipeline, toy.frame, "label").data
    again = assembled(toy.pipeline, toy.frame.set_index(toy.frame.index + 7), "label").data
    other = assembled(toy.pipeline, toy.frame.assign(age=toy.frame.age.where(toy.frame.index > 0, 33)), "label").data
    assert first == again
    assert first.sha256 != other.sha256
    assert (first.train_rows, first.test_rows) == (120, 0)  # the frame is one and the same


def test_the_manifest_tells_what_made_it(store: FileStore, toy: Toy) -> None:
    """Library versions, the estimator with its parameters and a time are in every manifest."""
    found = publish_toy(store, "told", toy, measured=True).manifest
    assert {"python", "scikit-learn", "numpy", "scipy", "pandas", "joblib"} == set(found.libraries)
    assert found.estimator.name == "sklearn.linear_model._logistic.LogisticRegression"
    assert found.estimator.parameters["C"] == "1.0"
    assert found.created_at.endswith("+00:00")
    assert found.metrics["accuracy"].train == found.metrics["accuracy"].value


def test_the_recipe_is_kept_as_it_was_read(toy: Toy, tmp_path: Path) -> None:
    """The manifest holds model.yaml with its defaults, for those who roll out and watch the version."""
    recipe = read_recipe(write_model(tmp_path, "toy", RECIPE.replace("Yes", "yes"), None) / "model.yaml")
    fitted = Fitted("toy", toy.pipeline, toy.frame, toy.frame, ["label"], measured=True, trained_here=True)
    manifest = assemble(fitted, recipe, str, lambda _: None).finish(1)[1]
    assert type(recipe).model_validate(manifest.recipe) == recipe
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
