"""Versions of a real model, good and bad, that want only their numbers: each fitted once a process."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from sklearn.base import BaseEstimator
from sklearn.model_selection import FixedThresholdClassifier
from threadpoolctl import threadpool_limits

from lifecycle.data import Data
from lifecycle.frames import plain_rows
from lifecycle.packaging import Candidate, Fitted, assemble
from lifecycle.recipe import Source, read_source

MODEL = "churn"
OTHER_SEED = 21
# A fifth of the customers is told otherwise then. With monthly and total charges it would be a tenth, which the
# defaults of `rollout.disagreement` nearly tolerate.
SWAPPED = {"monthly_charges": "tenure", "tenure": "monthly_charges"}
# The proof takes seconds for thousands of rows, and what it proves is not in question here.
TEST_ROWS = 200


@cache
def stable() -> Candidate:
    """Return what models/churn makes."""
    return _packaged(_source().fit(_data().train))


@cache
def retrained() -> Candidate:
    """Return the same from another split of the customers."""
    source = _source()
    source.load.__globals__["SEED"] = OTHER_SEED
    return _packaged(source.fit(source.load().train))


@cache
def swapped() -> Candidate:
    """Return one that was fitted on a table in which two columns had each other's name."""
    train = _data().train
    mixed_up = train.rename(columns=SWAPPED)[list(train.columns)]
    return _packaged(_source().fit(mixed_up))


@cache
def one_class() -> Candidate:
    """Return the stable one with a threshold that nobody reaches: it says No, whoever leaves."""
    data = _data()
    pipeline = _source().fit(data.train)
    unreachable = FixedThresholdClassifier(pipeline, threshold=1.1, pos_label="Yes", response_method="predict_proba")
    return _packaged(unreachable.fit(data.train.drop(columns=data.targets), data.train[data.targets[0]]))


def bodies(instances: int = 1) -> list[str]:
    """Return requests of so many instances each: the customers that no version was fitted on, as callers send them."""
    found = _customers()
    parts = [found[start : start + instances] for start in range(0, len(found) - instances + 1, instances)]
    return [orjson.dumps({"instances": part}).decode() for part in parts]


@cache
def _customers() -> list[dict[str, Any]]:
    data = _data()
    return plain_rows(data.test.drop(columns=data.targets))


@cache
def _data() -> Data:
    return _source().load()


def _source() -> Source:
    return read_source(MODEL)


def _packaged(pipeline: BaseEstimator) -> Candidate:
    """Return a fitted pipeline as `lifecycle package` takes it: nobody measures it, so nobody refuses it."""
    data, source = _data(), _source()
    with threadpool_limits(limits=1):
        fitted = Fitted(
            MODEL,
            pipeline,
            data.train,
            data.test.head(TEST_ROWS),
            data.targets,
            measured=False,
            trained_here=True,
        )
        return assemble(fitted, source.recipe, source.where, lambda _: None)
