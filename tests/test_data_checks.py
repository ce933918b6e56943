"""New frames against the last version's: what breaks a model stops training before fit, what changed is said."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from function.contract import Output, Signature
from function.store import FileStore
from lifecycle import metrics
from lifecycle.data import Data
from lifecycle.data_checks import check_frames, compare
from lifecycle.errors import ArtifactRefused, DataRefused, RecipeInvalid, VerifyFailed
from lifecycle.reference import Reference, summarize
from lifecycle.signature import learn_features
from lifecycle.training import Made, train
from tests.test_recipe import RECIPE, write_model

ROWS = 60
Change = Callable[[pd.DataFrame], pd.DataFrame]


def plain_frame() -> pd.DataFrame:
    """Return a frame with a column of every type, a rare category and a rare class."""
    index = np.arange(ROWS)
    return pd.DataFrame(
        {
            "age": index + 20,
            "income": np.where(index % 20 == 0, np.nan, index * 1.5),
            "city": np.where(index % 3 == 0, "Bern", "Genf"),
            "member": index % 2 == 0,
            "plan": pd.Categorical(np.where(index == 7, "rare", "usual")),
            "note": [f"a text of its own, {number}" for number in index],
            "since": pd.date_range("2026-01-01", periods=ROWS, freq="D"),
            "weight": np.where(index == 3, np.inf, 1.0),
            "label": np.where(index == 5, "maybe", np.where(index % 4 < 2, "no", "yes")),
        }
    )


def reference_of(frame: pd.DataFrame) -> Reference:
    """Return the reference of a training frame whose target is `label`, as it is read back from its file."""
    classes = tuple(sorted(frame["label"].unique()))
    outputs = (Output(name="label", classes=classes),)
    features = learn_features(frame.drop(columns="label"), {})
    signature = Signature(
        task="classification", features=features, outputs=outputs, methods=("predict",), form="frame", magnitudes={}
    )
    return Reference.model_validate_json(summarize(frame, signature).model_dump_json())


def both(frame: pd.DataFrame) -> Data:
    """Return data whose two frames are the same."""
    return Data(train=frame, test=frame, target="label")


def test_identical_frames_have_nothing_to_say() -> None:
    """The very frames of the last version differ from it in nothing, rare values and infinities included."""
    frame = plain_frame()
    assert compare(both(frame), reference_of(frame)) == []


BREAKS: dict[str, tuple[Change, str]] = {
    "column-gone": (lambda f: f.drop(columns="age"), "age: expected a column, found none"),
    "target-gone": (lambda f: f.drop(columns="label"), "label: expected a target column, found none"),
    "all-missing": (lambda f: f.assign(age=np.nan), "age: expected values, found nothing but missing ones"),
    "number-is-text": (lambda f: f.assign(age=f.age.astype(str)), "age: expected integer values, found text values of"),
    "text-is-number": (lambda f: f.assign(city=1), "city: expected text values, found integer values of dtype int64"),
    "boolean-is-number": (lambda f: f.assign(member=1), "member: expected boolean values, found integer values of"),
    "date-is-text": (lambda f: f.assign(since=f.since.astype(str)), "since: expected datetime values, found text valu"),
    "mixed": (
        lambda f: f.assign(age=pd.Series([1, "a"] * (ROWS // 2), dtype=object)),
        "age: expected integer values, found mixed-integer values of dtype object",
    ),
    "lists": (lambda f: f.assign(age=pd.Series([[1]] * ROWS)), "age: expected integer values, found mixed values of"),
    "class-gone": (lambda f: f.assign(label="no"), "label: expected rows of every class, 'yes' too, found none"),
}

CHANGES: dict[str, tuple[Change, str]] = {
    "new-column": (lambda f: f.assign(tea=1), "tea: expected no such column, found a new one"),
    "more-missing": (
        lambda f: f.assign(city=f.city.where(f.index % 4 > 0)),
        "city: expected 0.0% missing, found 25.0%",
    ),
    "less-missing": (lambda f: f.assign(income=f.income.fillna(1.5)), ""),  # 5 % is not more than it may change by
    "wider-range": (lambda f: f.assign(age=f.age * 2), "age: expected values from 20 to 79, found 40 to 158"),
    "integer-is-float": (lambda f: f.assign(age=f.age + 0.5), "age: expected values from 20 to 79, found 20.5 to 79.5"),
    "category-gone": (lambda f: f.assign(city="Bern"), "city: expected the category 'Genf', found no row of it"),
    "new-category": (
        lambda f: f.assign(city=f.city.where(f.index > 0, "Rom")),
        "city: expected known categories, found also 'Rom'",
    ),
    "value-always-true": (lambda f: f.assign(member=True), "member: expected the category 'False', found no row of it"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_breaks_the_model_is_found(case: str) -> None:
    """A column or class that is gone, or of another type, breaks what was made of it."""
    change, expected = BREAKS[case]
    findings = compare(both(change(plain_frame())), reference_of(plain_frame()))
    breaking = [str(finding) for finding in findings if finding.level == "breaks"]
    assert len(breaking) == 1
    assert breaking[0].startswith(expected)


@pytest.mark.parametrize("case", CHANGES)
def test_what_changed_is_said(case: str) -> None:
    """Other values than before are said and break nothing."""
    change, expected = CHANGES[case]
    findings = compare(both(change(plain_frame())), reference_of(plain_frame()))
    assert [finding.level for finding in findings] == ["changed"] * len(findings)
    assert [str(finding) for finding in findings] == ([expected] if expected else [])


def test_a_new_class_is_said_where_every_class_was_named() -> None:
    """A class that training never had is a change; where rare classes were left unnamed, nobody can tell."""
    frame = plain_frame()
    frame["label"] = frame["label"].replace("maybe", "no")
    changed = frame.assign(label=frame.label.where(frame.index > 0, "perhaps"))
    assert [str(finding) for finding in compare(both(changed), reference_of(frame))] == [
        "label: expected known classes, found also 'perhaps'"
    ]


def test_all_findings_come_at_once_in_a_fixed_order() -> None:
    """Columns first, then values, in the order of names, whatever the hash seed is."""
    changed = plain_frame().drop(columns=["city", "age"]).assign(tea=1, cup=2, income=-1.0)
    columns = [finding.column for finding in compare(both(changed), reference_of(plain_frame()))]
    assert columns == ["age", "city", "tea", "cup", "income"]


WRONG_FRAMES: dict[str, tuple[Change, Change, list[str]]] = {
    "no-target": (
        lambda f: f.drop(columns="label"),
        lambda f: f,
        ["train: the target label is no column", "label: in the test frame alone"],
    ),
    "no-rows": (lambda f: f.iloc[:0], lambda f: f, ["train: there are no rows"]),
    "missing-target": (
        lambda f: f,
        lambda f: f.assign(label=f.label.where(f.index > 3)),
        ["test: the target label has missing values"],
    ),
    "column-in-one": (
        lambda f: f.assign(a=1),
        lambda f: f.assign(b=1),
        ["a: in the training frame alone", "b: in the test frame alone"],
    ),
    "target-alone": (
        lambda f: f[["label"]],
        lambda f: f[["label"]],
        ["train: there is no feature beside the target"],
    ),
    "other-type": (
        lambda f: f,
        lambda f: f.assign(age=f.age.astype(str)),
        ["age: integer in the training frame, text in the test frame"],
    ),
    "all-at-once": (
        lambda f: f.iloc[:0],
        lambda f: f.drop(columns="age").assign(label=None),
        ["train: there are no rows", "test: the target label has missing values", "age: in the training frame alone"],
    ),
}


@pytest.mark.parametrize("case", WRONG_FRAMES)
def test_frames_that_no_model_can_be_made_of_are_refused(case: str) -> None:
    """Every fault of the two frames is listed at once."""
    of_train, of_test, expected = WRONG_FRAMES[case]
    frame = plain_frame()
    with pytest.raises(DataRefused) as caught:
        check_frames(Data(train=of_train(frame), test=of_test(frame), target="label"))
    assert caught.value.reasons == expected


def test_what_is_no_frame_is_refused_by_name() -> None:
    """Each of the two that is no DataFrame is named with what it is."""
    frame = plain_frame()
    with pytest.raises(DataRefused) as caught:
        check_frames(Data(train=frame, test=frame.to_numpy(), target="label"))
    assert caught.value.reasons == ["test: a DataFrame expected, found ndarray"]
    with pytest.raises(DataRefused) as caught:
        check_frames(Data(train=None, test=frame["label"], target="label"))
    assert caught.value.reasons == [
        "train: a DataFrame expected, found NoneType",
        "test: a DataFrame expected, found Series",
    ]


def test_right_frames_pass() -> None:
    """Whole numbers may be floats in the other frame, and a column may be missing altogether in it."""
    frame = plain_frame()
    check_frames(both(frame))
    check_frames(Data(train=frame, test=frame.assign(age=frame.age + 0.5, note=None), target="label"))


TRAIN = """
from pathlib import Path
import pandas as pd
from sklearn.linear_model import LogisticRegression
from lifecycle import Data
HERE = Path(__file__).parent

def load():
    print("a line that a person reads")
    frame = pd.read_csv(HERE / "rows.csv")
    return Data(train=frame, test=frame, target="label")

def fit(train):
    (HERE / "fitted").touch()
    return LogisticRegression().fit(train.drop(columns="label"), train["label"])
"""


class Model:
    """A model's folder whose rows a test can change, and the store that it is trained into."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder / "store")
        self.models = folder / "models"
        self.folder = write_model(self.models, "toy", RECIPE.replace("Yes", "yes"), TRAIN)
        self.frame = plain_frame()[["age", "weight", "label"]].replace({np.inf: 2.0, "maybe": "no"})
        # What the gate takes for a feature: neither nothing nor all of the target.
        index = np.arange(ROWS)
        self.frame = self.frame.assign(label=np.where((index >= ROWS // 2) != (index % 5 == 1), "yes", "no"))

    def train(self, change: Change = lambda frame: frame, accept_data: bool = False) -> Made:
        """Train on changed rows."""
        change(self.frame).to_csv(self.folder / "rows.csv", index=False)
        self.marker.unlink(missing_ok=True)
        return train(self.store, "toy", lambda _: None, accept_data=accept_data, models=self.models)

    @property
    def marker(self) -> Path:
        """The file that fit() leaves behind."""
        return self.folder / "fitted"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that was trained once."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 5)
        assert Model(folder).train().findings == []
    return folder


@pytest.fixture
def model(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """Return a copy of the trained model that a test may damage."""
    monkeypatch.setattr(metrics, "RESAMPLES", 5)
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return Model(tmp_path)


def test_breaking_data_is_refused_before_anything_is_fitted(model: Model) -> None:
    """A broken column stops training before fit is called, unless its owner accepts it."""

    def broken(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.drop(columns="weight")

    with pytest.raises(DataRefused, match=r"version 1 was made of; if it is meant, say --accept-data") as caught:
        model.train(broken)
    assert caught.value.reasons == ["weight: expected a column, found none"]
    assert not model.marker.exists()

    made = model.train(broken, accept_data=True)
    assert model.marker.exists()
    assert made.version.manifest.version == 2
    assert [str(finding) for finding in made.findings] == caught.value.reasons


def test_changed_data_trains_and_says_what_changed(model: Model) -> None:
    """What changed without breaking anything is handed back with the new version."""
    made = model.train(lambda frame: frame.assign(age=frame.age + 100))
    assert made.version.manifest.version == 2
    assert [str(finding) for finding in made.findings] == ["age: expected values from 20 to 79, found 120 to 179"]


def test_a_damaged_reference_is_said(model: Model) -> None:
    """A reference.json that cannot be read is the store's fault, not the data's."""
    (model.store.root / "toy" / "1" / "reference.json").write_text("{}")
    with pytest.raises(VerifyFailed, match=r"reference\.json of toy 1"):
        model.train()
    assert not model.marker.exists()


WRONG_NAMES = {
    "positive: yes": ["positive: True is no class; the target has 'no', 'yes'; a bare Yes or No is a boolean in YAML"],
    "positive: maybe": ["positive: 'maybe' is no class; the target has 'no', 'yes'"],
    "privacy: {omit: [agee], hash: [wait]}": [
        "privacy.omit: the data has no column agee",
        "privacy.hash: the data has no column wait",
    ],
    "inputs: {agee: {outside: reject}}": ["inputs: the data has no column agee"],
    "acceptance: {metrics: {f1: {min: 0}}, slices: {by: [city], metric: f1, min: 0}}": [
        "acceptance.slices.by: the data has no column city"
    ],
}


@pytest.mark.parametrize("part", WRONG_NAMES)
def test_names_in_model_yaml_are_held_to_the_data_before_fit(part: str, tmp_path: Path) -> None:
    """A class or column that the data does not have is found before fit, with its line: a typo must not cost a run."""
    model = Model(tmp_path)
    key = part.split(":")[0]
    lines = [line for line in RECIPE.replace("Yes", "yes").splitlines() if not line.startswith((key, "  metrics"))]
    lines = [line for line in lines if line != "acceptance:"] if key == "acceptance" else lines
    kept = [line if line != "acceptance:" else "acceptance: {metrics: {f1: {min: 0}}}" for line in lines]
    write_model(model.models, "toy", "\n".join([*kept, part]), TRAIN)
    with pytest.raises(RecipeInvalid) as caught:
        model.train()
    places = [f"{model.folder}/model.yaml:{len(kept) + 1}: {text}" for text in WRONG_NAMES[part]]
    assert len(caught.value.reasons) == len(places)
    assert all(found.startswith(place) for found, place in zip(caught.value.reasons, places, strict=True))
    assert not model.marker.exists()


@pytest.mark.parametrize(
    ("labels", "found"),
    [(["a", "b", "c"], "the target has 3: 'a', 'b', 'c'"), (["a"], "the target has 1: 'a'")],
    ids=["three", "one"],
)
def test_positive_is_for_two_classes(labels: list[str], found: str, model: Model) -> None:
    """A positive class is refused with its line where the target has more or fewer than two."""
    with pytest.raises(RecipeInvalid) as caught:
        model.train(lambda frame: frame.assign(label=(labels * ROWS)[:ROWS]))
    text = f"positive: is for two classes, {found}; leave it out"
    assert caught.value.reasons == [f"{model.folder}/model.yaml:4: {text}"]


OWN = {
    "function": ("def shout(x):\n    return x\n", "FunctionTransformer(shout)", "shout"),
    "lambda": ("", "FunctionTransformer(lambda x: x)", "fit.<locals>.<lambda>"),
    "class": ("class Shout(FunctionTransformer):\n    pass\n", "Shout()", "Shout"),
}


@pytest.mark.parametrize("case", OWN)
def test_what_stands_in_train_py_cannot_be_in_the_pipeline(case: str, tmp_path: Path) -> None:
    """A function or class of train.py is refused by its name, with the reason that the image does not have it."""
    definition, step, name = OWN[case]
    head = "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import FunctionTransformer\n"
    source = TRAIN.replace("LogisticRegression()", f"make_pipeline({step}, LogisticRegression())")
    model = Model(tmp_path)
    write_model(model.models, "toy", RECIPE.replace("Yes", "yes"), head + definition + source)
    with pytest.raises(ArtifactRefused) as caught:
        model.train()
    assert caught.value.message.startswith(f"{name} stands in models/toy/train.py, which the image does not have")


FAILING = {
    "fit-does-not-fit": (
        TRAIN.replace('.fit(train.drop(columns="label"), train["label"])', ""),
        r"^fit\(\) of models/toy/train.py returned a pipeline that is not fitted\.$",
    ),
    "load-raises": (
        TRAIN.replace("frame = pd", "frame = {}['rows']  #"),
        r"load\(\) failed at models/toy/train.py:10: K",
    ),
    "load-returns-frame": (TRAIN.replace("return Data(", "return dict("), "returned dict, expected Data"),
    "fit-raises": (
        TRAIN.replace('train["label"])', 'train["lable"])'),
        r"fit\(\) failed at models/toy/train.py:15: Key",
    ),
    "fit-returns-nothing": (TRAIN.replace("return Logistic", "Logistic"), "returned NoneType, expected a fitted"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_failing_function_is_named_with_its_line(case: str, tmp_path: Path) -> None:
    """When load or fit fails, the message leads to the line of train.py."""
    source, expected = FAILING[case]
    model = Model(tmp_path)
    write_model(model.models, "toy", RECIPE.replace("Yes", "yes"), source)
    with pytest.raises(RecipeInvalid, match=expected):
        model.train()
