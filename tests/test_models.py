"""Holds every folder under models/ against the two-function interface, and each model against its own promises."""

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from lifecycle import Data
from lifecycle.recipe import read_source

MODELS = Path(__file__).parent.parent / "models"
NAMES = sorted(folder.name for folder in MODELS.iterdir() if folder.is_dir() and not folder.name.startswith(("_", ".")))


@functools.cache
def train_module(name: str) -> ModuleType:
    """Return models/<name>/train.py, loaded by its path as the lifecycle does."""
    spec = importlib.util.spec_from_file_location(f"train_{name}", MODELS / name / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def loaded(name: str) -> Data:
    """Return a model's data; no test changes the frames."""
    return train_module(name).load()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_two_files(name: str) -> None:
    """A model's folder holds train.py and model.yaml, and nothing else is asked of a data scientist."""
    assert {path.name for path in (MODELS / name).iterdir()} - {"__pycache__"} == {"train.py", "model.yaml"}


@pytest.mark.parametrize("name", NAMES)
def test_train_is_two_public_functions(name: str) -> None:
    """What train.py defines in public is load and fit."""
    module = train_module(name)
    functions = {key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    assert {key for key in functions if not key.startswith("_")} == {"load", "fit"}


@pytest.mark.parametrize("name", NAMES)
def test_load_is_repeatable(name: str) -> None:
    """Loading twice gives equal frames, in values, types and order."""
    first, second = loaded(name), train_module(name).load()
    assert_frame_equal(first.train, second.train)
    assert_frame_equal(first.test, second.test)
    assert first.target == second.target


@pytest.mark.parametrize("name", NAMES)
def test_train_and_test_are_apart(name: str) -> None:
    """No row is in both frames, both have the same columns and types, and every target is one of them."""
    data = loaded(name)
    assert data.train.index.is_unique
    assert data.train.index.intersection(data.test.index).empty
    assert data.train.dtypes.equals(data.test.dtypes)
    assert set(_targets(data)) < set(data.train.columns)


@pytest.mark.parametrize("name", NAMES)
def test_fit_returns_one_estimator_on_the_feature_columns(name: str) -> None:
    """The fitted estimator takes the frame without its target and answers with the target's own labels."""
    data = loaded(name)
    sample = data.train.head(600)
    fitted = train_module(name).fit(sample)
    features = data.test.drop(columns=_targets(data)).head(5)
    assert list(fitted.feature_names_in_) == list(features.columns)
    assert set(fitted.predict(features)) <= set(sample[data.target])
    assert fitted.predict_proba(features).shape == (5, len(fitted.classes_))


@pytest.mark.parametrize("name", NAMES)
def test_model_yaml_names_what_the_data_holds(name: str) -> None:
    """The lifecycle reads every folder without a fault; slices, privacy and inputs name feature columns."""
    data, recipe = loaded(name), read_source(name).recipe
    sliced = recipe.acceptance.slices.by if recipe.acceptance.slices else ()
    named = {*sliced, *recipe.privacy.omit, *recipe.privacy.hash, *recipe.inputs}
    assert named <= set(data.train.columns) - set(_targets(data))


@pytest.mark.parametrize("name", NAMES)
def test_positive_is_a_label_of_the_target(name: str) -> None:
    """The positive class in model.yaml is a label that occurs in the data, of the same type."""
    positive, labels = read_source(name).recipe.positive, loaded(name).train[loaded(name).target].unique().tolist()
    assert (type(positive), positive) in [(type(label), label) for label in labels]


def test_churn_keeps_missing_values() -> None:
    """Customers who were never billed have no total charges, in the data as in life."""
    data = loaded("churn")
    customers = pd.concat([data.train, data.test])
    assert customers["total_charges"].isna().sum() == 11
    assert (customers["tenure"] == 0).equals(customers["total_charges"].isna())


def test_no_review_is_trained_on_and_tested() -> None:
    """A text that was posted for several products is on one side of the split only."""
    data = loaded("reviews")
    assert not data.test["review"].isin(data.train["review"]).any()


def test_the_threshold_of_reviews_respects_its_budget() -> None:
    """Out of fold, the happy customers who are taken for unhappy ones use the budget and do not exceed it."""
    module, train = train_module("reviews"), loaded("reviews").train.head(800)  # the rule holds for every frame
    decision = module.fit(train)
    folds = StratifiedKFold(module.FOLDS, shuffle=True, random_state=module.SEED)
    texts, scores = train[["review"]], train["score"]
    unhappy = cross_val_predict(decision.estimator, texts, scores, cv=folds, method="predict_proba")[:, 1]
    share = (unhappy[scores == "great"] >= decision.threshold).mean()
    assert module.FALSE_POSITIVE_BUDGET - 0.01 < share <= module.FALSE_POSITIVE_BUDGET


@pytest.fixture
def readings() -> pd.DataFrame:
    """Return every generated sensor reading."""
    data = loaded("maintenance")
    return pd.concat([data.train, data.test])


def test_readings_keep_the_published_distributions(readings: pd.DataFrame) -> None:
    """Products, temperatures and torque are spread as AI4I 2020 says."""
    assert len(readings) == 10_000
    shares = readings["product_type"].value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({"L": 0.5, "M": 0.3, "H": 0.2}, abs=0.02)
    air = readings["air_temperature_k"]
    above_air = readings["process_temperature_k"] - air
    assert (air.mean(), air.std()) == pytest.approx((300, 2), abs=0.05)
    assert (above_air.mean(), above_air.std()) == pytest.approx((10, 1), abs=0.05)
    assert (readings["torque_nm"].mean(), readings["torque_nm"].std()) == pytest.approx((40, 10), abs=0.3)
    assert readings["torque_nm"].min() > 0
    assert readings["tool_wear_min"].between(0, 245).all()


def test_every_published_failure_rule_holds(readings: pd.DataFrame) -> None:
    """A reading that meets a rule is a failure; other failures are worn tools and about one reading in a thousand."""
    rules = _heat(readings) | _power(readings) | _overstrain(readings)
    assert all(rule(readings).any() for rule in (_heat, _power, _overstrain))
    assert readings.loc[rules, "machine_failure"].eq(1).all()
    unexplained = readings[~rules & (readings["machine_failure"] == 1)]
    worn = unexplained["tool_wear_min"] >= 200
    assert 30 <= worn.sum() <= 75  # published: 51
    assert 1 <= (~worn).sum() <= 20


def test_the_share_of_failures_is_near_the_published_one(readings: pd.DataFrame) -> None:
    """About 3.4 readings in a hundred are failures, as in the published file."""
    assert 0.030 <= readings["machine_failure"].mean() <= 0.040


# The rules once more, written from the publication and not from train.py, so that the two are held against each other.


def _heat(readings: pd.DataFrame) -> pd.Series:
    difference = (readings["process_temperature_k"] - readings["air_temperature_k"]).round(1)
    return (difference < 8.6) & (readings["rotational_speed_rpm"] < 1380)


def _power(readings: pd.DataFrame) -> pd.Series:
    watt = readings["torque_nm"] * readings["rotational_speed_rpm"] * 2 * np.pi / 60
    return (watt < 3500) | (watt > 9000)


def _overstrain(readings: pd.DataFrame) -> pd.Series:
    limit = readings["product_type"].map({"L": 11_000, "M": 12_000, "H": 13_000})
    return readings["tool_wear_min"] * readings["torque_nm"] > limit


def _targets(data: Data) -> list[str]:
    return [data.target] if isinstance(data.target, str) else data.target
