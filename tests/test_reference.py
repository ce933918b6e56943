"""The training data's summary: figures that add up, and no row that could be read out of it."""

import json

import numpy as np
import pandas as pd
import pytest

from function.contract import Output, Signature
from lifecycle.reference import BINS, QUANTILES, RAREST_SHOWN, Reference, summarize
from lifecycle.signature import learn_features

ROWS = 200
SECRETS = [f"my secret number {index}" for index in range(ROWS)]


def frame_of_everything() -> pd.DataFrame:
    """Return a frame with a column of every type and two targets."""
    random = np.random.default_rng(3)
    index = np.arange(ROWS)
    return pd.DataFrame(
        {
            "age": random.integers(18, 90, ROWS),
            "income": np.where(index % 10 == 0, np.nan, random.normal(50, 20, ROWS)),
            "weight": np.where(index < 3, np.inf, random.random(ROWS)),
            "constant": 7,
            "nullable": pd.array([None if i % 4 == 0 else int(i) for i in index], "Int64"),
            "diary": SECRETS,
            "city": np.where(index < 4, "Rarestadt", np.where(index < 9, "Fiveville", "Bern")),
            "plan": pd.Categorical(np.where(index == 0, "single", "free"), categories=["free", "single", "unused"]),
            "member": np.where(index < 2, True, False),
            "since": pd.date_range("2026-01-01", periods=ROWS, freq="h"),
            "label": np.where(index < 2, "odd", np.where(index % 2 == 0, "yes", "no")),
            "price": random.normal(0, 1, ROWS),
        }
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return the frame of everything."""
    return frame_of_everything()


@pytest.fixture(scope="module")
def reference(frame: pd.DataFrame) -> Reference:
    """Return its reference."""
    features = learn_features(frame.drop(columns=["label", "price"]), {})
    outputs = (Output(name="label", classes=("no", "odd", "yes")), Output(name="price"), Output(name="elsewhere"))
    signature = Signature(
        task="classification", features=features, outputs=outputs, methods=("predict",), form="frame", magnitudes={}
    )
    return summarize(frame, signature)


def test_a_reference_holds_no_row(reference: Reference) -> None:
    """No free text stands in it, and no value that fewer than five rows share is named."""
    text = reference.model_dump_json()
    assert "secret" not in text
    assert not any(word in text for word in ("Rarestadt", "single", "odd"))
    assert "Fiveville" in text


def test_a_reference_is_read_back_as_it_was(reference: Reference) -> None:
    """It is JSON without NaN or infinity, and survives being written."""
    text = reference.model_dump_json()
    assert Reference.model_validate_json(text) == reference
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("name", ["age", "income", "weight", "constant", "nullable"])
def test_bins_hold_every_finite_number(name: str, frame: pd.DataFrame, reference: Reference) -> None:
    """Counts add up to the finite values, edges rise from the lowest to the highest, quantiles are the column's."""
    summary = reference.features[name]
    values = frame[name].dropna().to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    assert sum(summary.counts) == len(values)
    assert len(summary.counts) == max(1, len(summary.edges) - 1) <= BINS
    assert list(summary.edges) == sorted(set(summary.edges))
    assert (summary.edges[0], summary.edges[-1]) == (values.min(), values.max())
    assert summary.quantiles == {str(q): np.quantile(values, q) for q in QUANTILES}
    assert (summary.mean, summary.deviation) == pytest.approx((values.mean(), values.std()))


def test_bins_are_about_equally_filled(reference: Reference) -> None:
    """A continuous column fills each of its ten bins alike."""
    assert set(reference.features["income"].counts) <= {17, 18, 19}


@pytest.mark.parametrize("name", ["city", "plan", "member", "label"])
def test_categories_and_the_rest_add_up(name: str, frame: pd.DataFrame, reference: Reference) -> None:
    """Named categories hold five rows or more, and with the unnamed ones every row is counted."""
    summary = (reference.features | reference.targets)[name]
    counts = frame[name].astype(str).value_counts()
    assert summary.categories == {value: count for value, count in counts.items() if count >= RAREST_SHOWN}
    assert sum(summary.categories.values()) + summary.other == ROWS


def test_missing_values_are_a_share_of_the_rows(reference: Reference) -> None:
    """The rate of missing values is that of the whole column, and none where nothing is missing."""
    rates = {name: summary.missing_rate for name, summary in reference.features.items() if summary.missing_rate}
    assert rates == {"income": 0.1, "nullable": 0.25}
    assert {summary.rows for summary in reference.features.values()} == {reference.rows} == {ROWS}


def test_free_text_is_summarized_by_its_lengths(reference: Reference) -> None:
    """Of free text only the lengths are kept, in characters."""
    summary = reference.features["diary"]
    assert (summary.lengths["0.0"], summary.lengths["1.0"]) == (len(SECRETS[0]), len(SECRETS[-1]))
    assert summary.categories is None


def test_dates_have_quantiles_in_the_order_of_time(reference: Reference) -> None:
    """Of dates the quantiles are kept, as numbers."""
    quantiles = reference.features["since"].quantiles
    assert list(quantiles.values()) == sorted(quantiles.values())


def test_targets_are_summarized_by_what_they_are(reference: Reference) -> None:
    """Labels are counted by class, numbers binned; a target that the frame does not have is left out."""
    assert set(reference.targets) == {"label", "price"}
    assert reference.targets["label"].type == "label"
    assert sum(reference.targets["price"].counts) == ROWS
