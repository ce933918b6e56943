"""What is learned from frames and pipelines: types, categories, ranges, examples, and the way back to equal frames."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from function.contract import Feature, Signature
from function.engines.sklearn_engine import input_builder
from function.validation import Instances, Validator
from lifecycle.errors import ArtifactRefused, DataRefused, NotFitted
from lifecycle.frames import raw_instances
from lifecycle.recipe import InputPolicy
from lifecycle.signature import as_input, find_form, learn_features, learn_signature, magnitudes
from tests.toys import TOYS

LETTERS = ["tea", "Zürich", "", "👍", "no"]


def signature_of(features: tuple[Feature, ...], form: Any = "frame") -> Signature:
    """Return a signature of these features."""
    return Signature(
        task="regression", features=features, outputs=(), methods=("predict",), form=form, magnitudes={"predict": ()}
    )


def learn_one(values: Any, **policy: Any) -> Feature:
    """Return the feature that is learned of one column."""
    policies = {"x": InputPolicy(**policy)} if policy else {}
    return learn_features(pd.DataFrame({"x": values}), policies)[0]


TYPES: dict[str, tuple[Any, str, bool]] = {
    "int8": (np.array([1, 2], "int8"), "integer", False),
    "uint64": (np.array([1, 2**64 - 1], "uint64"), "integer", False),
    "float32": (np.array([1.5, np.nan], "float32"), "number", True),
    "float64": ([1.0, 2.0], "number", False),
    "Int64": (pd.array([1, None], "Int64"), "integer", True),
    "Float64": (pd.array([1.5, 2.5], "Float64"), "number", False),
    "bool": ([True, False], "boolean", False),
    "boolean": (pd.array([True, None], "boolean"), "boolean", True),
    "str": (["a", "b"], "text", False),
    "string": (pd.array(["a", None], "string"), "text", True),
    "object-text": (pd.Series(["a", None], dtype=object), "text", True),
    "object-boolean": (pd.Series([True, None], dtype=object), "boolean", True),
    "object-number": (pd.Series([1, 2.5, None], dtype=object), "number", True),
    "category-of-text": (pd.Categorical(["a", "b"]), "text", False),
    "category-of-integers": (pd.Categorical([1, None]), "integer", True),
    "category-of-booleans": (pd.Categorical([True, False]), "boolean", False),
    "datetime": (pd.to_datetime(["2026-01-01", None]), "datetime", True),
    "datetime-aware": (pd.to_datetime(["2026-01-01T00:00:00+01:00"]), "datetime", False),
    "sparse": (pd.arrays.SparseArray([0.0, 1.0]), "number", False),
}


@pytest.mark.parametrize("case", TYPES)
def test_type_and_nullability_are_the_columns_own(case: str) -> None:
    """A feature's type is what callers send for the column, and it may be missing where training had it missing."""
    values, kind, nullable = TYPES[case]
    feature = learn_one(values)
    assert (feature.type, feature.nullable) == (kind, nullable)
    assert feature.dtype == str(pd.Series(values).dtype)


CATEGORIES: dict[str, tuple[Any, tuple[Any, ...] | None, bool]] = {
    "text-that-repeats": (["b", "a", "b", "a", "a", "b"], ("a", "b"), False),
    "text-that-seldom-repeats": (["a", "b", "a", "b", "a"], None, False),
    "missing-texts-do-not-count": (["a", "b", "a", "b", "a", None, None], None, False),
    "free-text": ([f"text {index}" for index in range(50)], None, False),
    "a-hundred-words": ([f"{index:03}" for index in range(100)] * 3, tuple(f"{i:03}" for i in range(100)), False),
    "more-than-a-hundred": ([f"{index}" for index in range(101)] * 3, None, False),
    "numbers-that-repeat": ([1, 2] * 50, None, False),
    "unused-category": (pd.Categorical(["b"], categories=["c", "b", "a"]), ("c", "b", "a"), False),
    "ordered": (pd.Categorical(["low"], categories=["low", "high"], ordered=True), ("low", "high"), True),
    "integers": (pd.Categorical([3, 1]), (1, 3), False),
    "many-of-a-categorical": (pd.Categorical(range(300)), tuple(range(300)), False),
}


@pytest.mark.parametrize("case", CATEGORIES)
def test_categories_are_a_categoricals_own_or_text_that_repeats(case: str) -> None:
    """Few texts that repeat are categories in order; a categorical keeps all of its own, in its own order."""
    values, categories, ordered = CATEGORIES[case]
    feature = learn_one(values)
    assert (feature.categories, feature.ordered) == (categories, ordered)


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([3, 1, 2], (1, 3)),
        ([1.5, np.nan, -2], (-2, 1.5)),
        ([1.0, np.inf, -np.inf], (1, 1)),
        ([True, False], (None, None)),
        (["1", "2"], (None, None)),
        (pd.Categorical([1, 2]), (None, None)),
        (pd.array([1, None, 7], "Int64"), (1, 7)),
    ],
    ids=["integers", "missing", "infinite", "booleans", "text", "category", "nullable"],
)
def test_the_range_is_that_of_the_finite_numbers(values: Any, limits: tuple[Any, Any]) -> None:
    """Numbers have the range that training had, without infinities; everything else has none."""
    feature = learn_one(values)
    assert (feature.minimum, feature.maximum) == limits


def test_policies_change_what_was_learned() -> None:
    """model.yaml decides what happens to values that training never had, and whether a value may be missing."""
    feature = learn_one([1.0, 2.0], outside="reject", factor=3, unseen="mark", missing="accept")
    assert (feature.outside, feature.factor, feature.unseen, feature.nullable) == ("reject", 3, "mark", True)
    assert not learn_one([1.0, np.nan], missing="reject").nullable


@pytest.mark.parametrize("values", [[1, 2], [True, False], np.array([1], "uint8")], ids=["int64", "bool", "uint8"])
def test_missing_is_not_accepted_where_the_dtype_cannot_hold_it(values: Any) -> None:
    """NumPy would make true of a missing boolean, and cannot make an integer of it."""
    with pytest.raises(DataRefused, match=r"inputs\.x: missing: accept, but a column of dtype"):
        learn_one(values, missing="accept")


def test_free_text_gives_nobodys_words_as_the_example() -> None:
    """The example of free text is made of its commonest words and is no row's text."""
    texts = [f"tea number {index} was good" for index in range(20)]
    example = learn_one(texts).example
    assert set(str(example).split()[:4]) == {"tea", "number", "was", "good"}
    assert example not in texts


NO_FEATURES: dict[str, Any] = {
    "wait": pd.to_timedelta(["1 day"] * 2),
    "wave": [1j, 2j],
    "lists": [[1], [2]],
    "mixed": pd.Series([1, "a"], dtype=object),
    "empty": [np.nan, np.nan],
    "month": pd.period_range("2026-01", periods=2, freq="M"),
    "bin": pd.cut(pd.Series([1, 2]), 2),
    "day-category": pd.Categorical(pd.to_datetime(["2026-01-01", "2026-01-02"])),
    "bytes": pd.Series([b"a", b"b"], dtype=object),
    "arrow": pd.array([1, 2], dtype="int64[pyarrow]"),
    "no-number": [np.inf, -np.inf],
}


def test_a_method_that_only_says_that_there_is_none_is_none() -> None:
    """Some classes have a `predict_proba` that refuses every row: the model is published without it."""
    frame = pd.DataFrame({"a": np.arange(9.0), "b": np.arange(9.0)[::-1] ** 2})
    model = GaussianProcessClassifier(optimizer=None, multi_class="one_vs_one").fit(frame, [0, 1, 2] * 3)
    assert learn_signature(model, frame, learn_features(frame, {}), ["kind"], "classification").methods == ("predict",)


def test_columns_that_cannot_be_features_are_refused_together_by_name() -> None:
    """One refusal names every column that JSON cannot hold, that holds nothing, or whose name is no name."""
    frame = pd.DataFrame({**NO_FEATURES, "fine": [1, 2], 7: [1, 2]})
    frame = pd.concat([frame, pd.DataFrame({"twice": [1, 2], "more": [1, 2]}), frame[["fine"]]], axis=1)
    with pytest.raises(DataRefused) as caught:
        learn_features(frame, {"nowhere": InputPolicy()})
    named = [reason.split(":")[0] for reason in caught.value.reasons]
    assert named == ["inputs.nowhere", "7", "fine", *NO_FEATURES]


def many_rows(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Return lists of six values."""
    return st.lists(values, min_size=6, max_size=6)


def or_none(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values of which some are missing."""
    return st.none() | values


def integers(dtype: str) -> st.SearchStrategy[Any]:
    """Return columns over the whole width of an integer dtype."""
    limits = np.iinfo(dtype.lower())
    return st.integers(int(limits.min), int(limits.max))


def floats(width: Any) -> st.SearchStrategy[float]:
    """Return finite numbers of a width."""
    return st.floats(allow_nan=False, allow_infinity=False, width=width)


def column(dtype: Any, values: st.SearchStrategy[Any]) -> st.SearchStrategy[pd.Series]:
    """Return columns of a dtype, with one value at least."""
    return (
        many_rows(values)
        .filter(lambda row: any(value is not None for value in row))
        .map(lambda row: pd.Series(row, dtype=dtype))
    )


def categorical(values: list[Any]) -> st.SearchStrategy[pd.Series]:
    """Return categorical columns, ordered or not, with unused categories and missing values."""
    return st.builds(
        lambda row, ordered: pd.Series(pd.Categorical([*row, values[0]], categories=values, ordered=ordered)),
        st.lists(or_none(st.sampled_from(values)), min_size=5, max_size=5),
        st.booleans(),
    )


def nan_object(values: st.SearchStrategy[Any]) -> st.SearchStrategy[pd.Series]:
    """Return columns of dtype object in which NaN stands for missing."""
    return column("object", or_none(values)).map(lambda c: c.where(c.notna(), np.nan))


def with_object_categories(values: pd.Series) -> pd.Series:
    """Return a categorical column whose categories are Python objects."""
    return values.cat.rename_categories(pd.Index(values.cat.categories, dtype=object))


MOMENTS = st.datetimes(min_value=pd.Timestamp("1900-01-01"), max_value=pd.Timestamp("2200-01-01"))
COLUMNS: dict[str, st.SearchStrategy[pd.Series]] = {
    **{name: column(name, integers(name)) for name in ("int8", "int16", "int32", "int64")},
    **{name: column(name, integers(name)) for name in ("uint8", "uint16", "uint32", "uint64")},
    **{name: column(name, or_none(integers(name))) for name in ("Int8", "Int64", "UInt8", "UInt64")},
    "float32": column("float32", or_none(floats(32))),
    "float64": column("float64", or_none(floats(64))),
    "Float32": column("Float32", or_none(floats(32))),
    "Float64": column("Float64", or_none(floats(64))),
    "bool": column("bool", st.booleans()),
    "boolean": column("boolean", or_none(st.booleans())),
    "str": column("str", or_none(st.sampled_from(LETTERS))),
    "string": column("string", or_none(st.sampled_from(LETTERS))),
    "free": column("str", st.text(st.characters(exclude_categories=["Cs"]))),
    "string-nan": column(pd.StringDtype(na_value=np.nan), or_none(st.sampled_from(LETTERS))),
    "object-none": column("object", or_none(st.sampled_from(LETTERS))),
    "object-nan": nan_object(st.sampled_from(LETTERS)),
    "object-boolean": column("object", or_none(st.booleans())),
    "object-integer": column("object", or_none(integers("int64"))),
    "object-float": nan_object(floats(64)),
    "words": categorical(LETTERS),
    "object-words": categorical(LETTERS).map(with_object_categories),
    "ranks": categorical([3, 1, 2]),
    "shares": categorical([0.5, 1.5]),
    "truths": categorical([True, False]),
    "seconds": column("datetime64[s]", or_none(MOMENTS.map(lambda moment: moment.replace(microsecond=0)))),
    "micros": column("datetime64[us]", or_none(MOMENTS)),
    "nanos": column("datetime64[ns]", or_none(MOMENTS)),
    "utc": column("datetime64[us]", or_none(MOMENTS)).map(lambda c: c.dt.tz_localize("UTC")),
    "zurich": column("datetime64[us]", or_none(MOMENTS)).map(
        lambda c: c.dt.tz_localize("UTC").dt.tz_convert("Europe/Zurich")
    ),
    "offset": column("datetime64[us]", or_none(MOMENTS)).map(lambda c: c.dt.tz_localize("UTC").dt.tz_convert("+05:30")),
}
FRAMES = (
    st.lists(st.sampled_from(sorted(COLUMNS)), min_size=2, max_size=5, unique=True)
    .flatmap(lambda names: st.fixed_dictionaries({name: COLUMNS[name] for name in names}))
    .map(pd.DataFrame)
)


def check_way_back(frame: pd.DataFrame) -> None:
    """Hold a frame that went through JSON to the frame that it was, in one request and row by row."""
    signature = Signature.model_validate_json(signature_of(learn_features(frame, {})).model_dump_json())
    validator, build = Validator(signature), input_builder(signature)
    instances = raw_instances(frame, signature.features)
    rows = [instances, *([instance] for instance in instances)]
    frames = [frame, *(frame.iloc[[index]].reset_index(drop=True) for index in range(len(frame)))]
    for sent, expected in zip(rows, frames, strict=True):
        built = build(validator.columns(Instances(sent, str)))
        assert_frame_equal(built, expected)
        assert same_missing(built, expected)


@pytest.mark.parametrize("name", COLUMNS)
@settings(
    max_examples=12, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_a_column_comes_back_from_json_as_it_was(name: str, data: st.DataObject) -> None:
    """A column sent as JSON reaches the pipeline equal, values and dtype, in one request or row by row."""
    check_way_back(pd.DataFrame({name: data.draw(COLUMNS[name])}))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(frame=FRAMES)
def test_a_frame_comes_back_from_json_as_it_was(frame: pd.DataFrame) -> None:
    """Whatever dtypes are beside each other, a frame sent as JSON reaches the pipeline equal."""
    check_way_back(frame)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(frame=FRAMES)
def test_the_examples_are_valid(frame: pd.DataFrame) -> None:
    """The example of every feature is accepted by the signature that it stands in, and is nothing unusual."""
    features = learn_features(frame, {})
    validator = Validator(signature_of(features))
    columns = validator.columns(Instances([{feature.name: feature.example for feature in features}], str))
    assert validator.marks(columns, str).total == 0


def same_missing(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Tell whether None is where None was and NaN where NaN was, in columns of dtype object."""
    objects = [name for name in one.columns if one[name].dtype == object]
    return all([value is None for value in one[name]] == [value is None for value in other[name]] for name in objects)


FORMS = {
    "binary": "frame",
    "truth": "frame",
    "multiclass": "array",
    "several-numbers": "frame",
    "several-classes": "frame",
    "chained-classes": "frame",
    "text": "column",
    "records": "records",
}


@pytest.mark.parametrize("name", FORMS)
def test_the_form_is_what_the_pipeline_takes(name: str) -> None:
    """Feature names mean a frame; without them, the first form that gives one answer a row."""
    toy = TOYS[name]()
    assert find_form(toy.pipeline, toy.features) == FORMS[name]
    assert find_form(toy.pipeline, toy.features.head(1)) == FORMS[name]


@pytest.mark.parametrize("columns", range(2, 8))
def test_a_pipeline_of_texts_is_not_fed_with_column_names(columns: int) -> None:
    """Text steps read a frame as the list of its column names: however many there are, that is no answer a row."""
    pipeline = TOYS["text"]().pipeline
    frame = pd.DataFrame({f"c{index}": ["some text", "more text"] * 5 for index in range(columns)})
    with pytest.raises(ArtifactRefused, match="does not take the examples"):
        find_form(pipeline, frame)


def test_records_leave_out_what_is_missing() -> None:
    """A record holds the values that are there; a feature may be missing in every row of a part."""
    frame = pd.DataFrame({"city": ["Bern", None, "Genf"] * 4, "age": [np.nan] * 10 + [4.0, 5.0]})
    assert as_input(frame.head(2), "records") == [{"city": "Bern"}, {}]
    rows = as_input(frame, "records")
    pipeline = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, [0, 1] * 6)
    assert find_form(pipeline, frame) == "records"


def test_a_pipeline_that_takes_no_form_is_refused_with_each_reason() -> None:
    """The refusal says for every form why it was not taken."""
    with pytest.raises(ArtifactRefused) as caught:
        find_form(LogisticRegression().fit([[0, 1], [1, 0]], [0, 1]), pd.DataFrame({"x": [1.0, 2.0]}))
    assert [reason.split(":")[0] for reason in caught.value.reasons] == [
        "as array",
        "as frame",
        "as column",
        "as records",
    ]
    assert "X has 1 features, but" in caught.value.reasons[0]


@pytest.mark.parametrize(
    "pipeline", [LogisticRegression(), make_pipeline(DictVectorizer(), LogisticRegression())], ids=["bare", "steps"]
)
def test_a_pipeline_that_is_not_fitted_is_refused_in_one_sentence(pipeline: Any) -> None:
    """Where the pipeline is not fitted, no form is tried in words."""
    with pytest.raises(NotFitted) as caught:
        find_form(pipeline, pd.DataFrame({"x": [1.0, 2.0]}))
    assert str(caught.value) == "The pipeline is not fitted."


def test_a_pipeline_that_fails_on_a_later_row_is_refused() -> None:
    """A missing value that the pipeline cannot take is a refusal that says so, wherever it stands in the frame."""
    frame = pd.DataFrame({"x": [1.0, 2.0] * 10})
    pipeline = LinearRegression().fit(frame, frame.x)
    frame.loc[15, "x"] = np.nan
    with pytest.raises(ArtifactRefused, match=r"predict\(\) of the fitted pipeline fails on the 20 rows:") as caught:
        learn_signature(pipeline, frame, learn_features(frame, {}), ["y"], "regression")
    assert "NaN" in caught.value.reasons[0]


@pytest.mark.parametrize(
    ("name", "targets"),
    [("regression", ["a", "b"]), ("several-numbers", ["a"]), ("binary", ["a", "b"]), ("several-classes", ["a"])],
)
def test_targets_are_as_many_as_outputs(name: str, targets: list[str]) -> None:
    """Another number of targets than the pipeline has outputs is refused."""
    toy = TOYS[name]()
    frame = toy.features[list(toy.pipeline.feature_names_in_)]
    with pytest.raises(ArtifactRefused, match=r"gives \d outputs a row, the targets are \d: a"):
        learn_signature(toy.pipeline, frame, learn_features(frame, {}), targets, "regression")


def test_labels_that_share_one_list_of_classes_are_refused() -> None:
    """A multi-label network has one `classes_` for all its outputs, from which none could be described."""
    frame = pd.DataFrame({"x": np.arange(12.0)})
    pipeline = MLPClassifier((2,), max_iter=5000, random_state=0).fit(frame, np.array([[0, 1], [1, 0]] * 6))
    with pytest.raises(ArtifactRefused, match="2 labels a row"):
        learn_signature(pipeline, frame, learn_features(frame, {}), ["a", "b"], "classification")


def test_a_chains_classes_come_in_the_order_of_the_targets() -> None:
    """A chain of classifiers lists its classes in the order in which it decides."""
    toy = TOYS["chained-classes"]()
    features = learn_features(toy.features, {})
    learned = learn_signature(toy.pipeline, toy.features, features, toy.targets, "classification")
    assert [output.classes for output in learned.outputs] == [(0, 1), (2, 5)]


def test_classes_and_methods_are_the_pipelines_own() -> None:
    """Classes keep their type and order, and a method is listed where the pipeline has it."""
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    learned = learn_signature(DummyClassifier().fit(frame, [3, 1, 1]), frame, learn_features(frame, {}), ["y"], "c")
    assert (learned.outputs[0].classes, learned.methods) == ((1, 3), ("predict", "predict_proba"))
    texts = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a tea", "b cup"], ["no", "yes"])
    words = pd.DataFrame({"x": ["tea", "cup"]})
    learned = learn_signature(texts, words, learn_features(words, {}), ["y"], "classification")
    assert learned.outputs[0].classes == ("no", "yes")
    assert learned.methods == ("predict", "predict_proba", "decision_function")


def test_magnitudes_are_per_value_of_a_row() -> None:
    """The largest finite magnitude of each value of a row is kept; labels and whole numbers have none."""
    assert magnitudes(np.array([[1.0, -7.0], [np.nan, np.inf]])) == (1.0, 7.0)
    assert magnitudes([np.array([[0.5]]), np.array([[-2.0]])]) == (0.5, 2.0)
    assert magnitudes(np.array(["a"])) == magnitudes(np.array([3])) == ()
