"""Columns that tell the target more than a column of the world does, whatever they hold."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from lifecycle.leaks import ALONE, TOGETHER, find_leaks, rests_on
from lifecycle.signature import learn_features, learn_signature

ROWS = 900
RANDOM = np.random.default_rng(1)
LEFT = RANDOM.random(ROWS) < 0.3
FLIPPED = LEFT ^ (RANDOM.random(ROWS) < 0.02)
BITS = RANDOM.random(ROWS) < 0.5
NOISE = 8 * RANDOM.normal(size=ROWS)
DAYS = pd.to_datetime("2026-01-01") + pd.to_timedelta(RANDOM.integers(0, 300, ROWS), unit="D")
NUMBER = RANDOM.normal(size=ROWS)

LEAKS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "a-copy": ({"leak": FLIPPED.astype(int)}, ("leak",)),
    "a-copy-with-noise": ({"leak": LEFT + 0.3 * RANDOM.normal(size=ROWS)}, ("leak",)),
    "another-name": ({"leak": np.where(FLIPPED, "closed", "open")}, ("leak",)),
    "filled-in-afterwards": ({"leak": np.where(FLIPPED, 7.0, np.nan)}, ("leak",)),
    "a-text-filled-in-afterwards": ({"leak": np.where(FLIPPED, "moved away", None)}, ("leak",)),
    "texts-of-their-own": ({"leak": [f"{'reason' * int(one)} {i:04d}" for i, one in enumerate(FLIPPED)]}, ("leak",)),
    "a-date": ({"leak": DAYS.where(~FLIPPED, pd.Timestamp("2026-12-31"))}, ("leak",)),
    "a-missing-date": ({"leak": DAYS.where(FLIPPED, pd.NaT)}, ("leak",)),
    "a-category": ({"leak": pd.Categorical(np.where(FLIPPED, "a", "b"))}, ("leak",)),
    "a-boolean": ({"leak": FLIPPED}, ("leak",)),
    "half-and-half": ({"one": FLIPPED & BITS, "two": FLIPPED & ~BITS}, ("one", "two")),
    "either-or": ({"one": BITS, "two": BITS ^ FLIPPED}, ("one", "two")),
    "a-difference": ({"one": NOISE, "two": NOISE + FLIPPED}, ("one", "two")),
}


def frames(columns: dict[str, object]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training and held-out rows with some columns beside an honest one."""
    honest = LEFT + 1.5 * np.random.default_rng(5).normal(size=ROWS)
    frame = pd.DataFrame({"honest": honest, **columns, "left": np.where(LEFT, "yes", "no")})
    return frame.iloc[:600], frame.iloc[600:]


@pytest.mark.parametrize("case", LEAKS)
def test_a_leak_is_named(case: str) -> None:
    """A column that copies the target is found by itself, and a copy that is spread over two in their pair."""
    columns, expected = LEAKS[case]
    train, test = frames(columns)
    found = find_leaks(train, test, ["left"], ["honest", *columns], "classification")
    assert [tuple(sorted(leak.columns)) for leak in found] == [expected]
    least = ALONE if len(expected) == 1 else TOGETHER
    assert found[0].share > least["classification"]


HONEST = {
    "strong": {"other": LEFT + 0.6 * RANDOM.normal(size=ROWS)},
    "nothing": {"other": NOISE},
    "numbers-of-rows": {"other": [f"id-{i}" for i in range(ROWS)]},
    "a-constant": {"other": np.ones(ROWS)},
    "missing-throughout": {"other": np.full(ROWS, np.nan)},
    "infinite": {"other": np.where(BITS, np.inf, -np.inf)},
}


@pytest.mark.parametrize("case", HONEST)
def test_what_is_strong_or_odd_is_no_leak(case: str) -> None:
    """A column that tells much, nothing, or another thing in each row is let pass."""
    train, test = frames(HONEST[case])
    assert find_leaks(train, test, ["left"], ["honest", "other"], "classification") == []


def test_a_number_is_copied_by_its_logarithm() -> None:
    """Of numbers nearly all must be explained, for honest columns may well explain most."""
    frame = pd.DataFrame({"size": NUMBER, "price": NUMBER + 0.5 * NOISE / 8})
    frame["log_price"] = np.log(frame.price + 10)
    found = find_leaks(frame[:600], frame[600:], ["price"], ["size", "log_price"], "regression")
    assert [leak.columns for leak in found] == [("log_price",)]


def middle(frame: pd.DataFrame) -> np.ndarray:
    """Return one column of a frame, so that a pipeline rests on it alone."""
    return frame[["b"]].to_numpy()


def test_what_answers_rest_on_is_what_moves_them() -> None:
    """Shuffling a column that the pipeline ignores moves nothing; the shares are of one whole."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 3)), columns=["a", "b", "c"])
    labels = frame.b + random.normal(size=300) > 0
    pipeline = make_pipeline(FunctionTransformer(middle), LogisticRegression()).fit(frame, labels)
    signature = learn_signature(pipeline, frame, learn_features(frame, {}), ["left"], "classification")
    assert rests_on(pipeline, signature, frame) == {"b": 1.0, "a": 0.0, "c": 0.0}
