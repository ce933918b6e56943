"""Golden examples: the unusual rows of a frame, with what the fitted pipeline gave for each."""

import numpy as np
import pandas as pd
import pytest

from function.contract import Feature, Signature
from function.validation import Instances, Validator
from lifecycle.golden import MOST, choose_rows, golden_examples
from lifecycle.recipe import InputPolicy
from lifecycle.signature import learn_features

ROWS = 400
OUTPUTS = {"predict": [f"answer {row}" for row in range(ROWS)], "predict_proba": [[row / ROWS] for row in range(ROWS)]}


def signature_of(frame: pd.DataFrame, **policies: InputPolicy) -> Signature:
    """Return a signature of a frame's features."""
    features: tuple[Feature, ...] = learn_features(frame, policies)
    return Signature(
        task="classification", features=features, outputs=(), methods=("predict",), form="frame", magnitudes={}
    )


@pytest.fixture
def frame() -> pd.DataFrame:
    """Return a frame whose unusual rows stand at known positions, under an index that repeats."""
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "age": random.integers(30, 60, ROWS),
            "income": random.normal(50, 5, ROWS),
            "count": pd.array(random.integers(0, 5, ROWS), "Int64"),
            "city": random.choice(["Bern", "Genf"], ROWS),
            "plan": pd.Categorical(random.choice(["free", "paid"], ROWS), categories=["free", "paid", "team", "never"]),
            "diary": [f"dear diary {row}" for row in range(ROWS)],
        },
        index=np.zeros(ROWS, dtype=int),
    )
    unusual = {(101, "age"): 18, (102, "age"): 99, (103, "income"): np.nan, (104, "income"): -1e9, (105, "income"): 1e9}
    unusual |= {(106, "count"): pd.NA, (107, "city"): "Rom", (108, "plan"): "team"}
    for (row, name), value in unusual.items():
        frame.iloc[row, frame.columns.get_loc(name)] = value
    return frame


def test_rows_cover_extremes_missing_and_rarest(frame: pd.DataFrame) -> None:
    """Each feature's lowest, highest, missing and rarest value is among the rows, some usual rows beside them."""
    rows = choose_rows(frame, signature_of(frame))
    assert set(range(101, 109)) <= set(rows)
    assert 10 < len(rows) <= MOST
    assert rows == sorted(set(rows))


def test_the_choice_is_repeatable(frame: pd.DataFrame) -> None:
    """The same frame gives the same rows."""
    assert choose_rows(frame, signature_of(frame)) == choose_rows(frame, signature_of(frame))


def test_a_wide_frame_has_no_more_than_the_most() -> None:
    """However many features there are, loading stays quick."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 100))).rename(columns=str)
    assert len(choose_rows(frame, signature_of(frame))) == MOST


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_tiny_frame_gives_all_its_rows(rows: int, frame: pd.DataFrame) -> None:
    """Fewer rows than wanted are all taken."""
    part = frame.iloc[100 : 100 + rows]
    assert choose_rows(part, signature_of(part)) == list(range(rows))


def test_examples_hold_raw_instances_with_their_own_outputs(frame: pd.DataFrame) -> None:
    """An example is a row as a caller would send it, with each method's answer for that very row."""
    signature = signature_of(frame)
    examples = golden_examples(frame, signature, OUTPUTS)
    rows = choose_rows(frame, signature)
    assert [example.outputs["predict"] for example in examples] == [f"answer {row}" for row in rows]
    assert [example.outputs["predict_proba"] for example in examples] == [[row / ROWS] for row in rows]
    missing = next(example for example in examples if example.outputs["predict"] == "answer 103")
    assert missing.instance["income"] is None
    assert missing.instance == examples[0].model_validate_json(missing.model_dump_json()).instance
    Validator(signature).columns(Instances([example.instance for example in examples], str))


def test_rows_that_callers_may_not_send_are_no_examples(frame: pd.DataFrame) -> None:
    """A row that the signature refuses could not be replayed: infinite numbers, or missing where that is refused."""
    frame.iloc[0, frame.columns.get_loc("income")] = np.inf
    signature = signature_of(frame, count=InputPolicy(missing="reject"))
    rows = choose_rows(frame, signature)
    assert {0, 106} <= set(rows)
    answers = {example.outputs["predict"] for example in golden_examples(frame, signature, OUTPUTS)}
    assert answers == {f"answer {row}" for row in rows if row not in (0, 106)}
