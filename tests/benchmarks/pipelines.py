"""The fitted pipelines that are measured, on real data; models of the repository can be measured by name, too."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from lifecycle import Data

SEED = 20
TREES = 200


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline, rows that it was not fitted on, and the column that it predicts."""

    pipeline: Any
    data: Any  # as a train.py loads it

    @property
    def test(self) -> pd.DataFrame:
        """The test rows."""
        return self.data.test  # type: ignore[no-any-return]

    @property
    def target(self) -> str:
        """The column to be predicted."""
        return self.data.target  # type: ignore[no-any-return]

    @property
    def features(self) -> pd.DataFrame:
        """The test rows without the target."""
        return self.test.drop(columns=self.target)


def forest() -> Fitted:
    """Return the churn model's columns before a forest of 200 trees."""
    boosted, data = _of_model("churn")
    columns, _ = (step for _, step in boosted.steps)
    pipeline = Pipeline([("columns", clone(columns)), ("forest", RandomForestClassifier(TREES, random_state=SEED))])
    return Fitted(pipeline.fit(data.train.drop(columns=data.target), data.train[data.target]), data)


def linear() -> Fitted:
    """Return a scaler and a logistic regression on 30 numbers: scikit-learn's Wisconsin breast cancer data."""
    data = load_breast_cancer(as_frame=True)
    rows = data.data.assign(diagnosis=data.target_names[data.target])
    train, test = train_test_split(rows, random_state=SEED)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(train.drop(columns="diagnosis"), train["diagnosis"])
    return Fitted(pipeline, Data(train=train, test=test, target="diagnosis"))


PIPELINES: dict[str, Callable[[], Fitted]] = {
    "forest": forest,
    "boosting": lambda: Fitted(*_of_model("churn")),
    "text": lambda: Fitted(*_of_model("reviews")),
    "linear": linear,
}


def test_features(name: str) -> pd.DataFrame:
    """Return the test rows of a model of the repository without the target; raises ModuleNotFoundError."""
    data = importlib.import_module(f"models.{name}.train").load()
    return data.test.drop(columns=data.target)  # type: ignore[no-any-return]


def _of_model(name: str) -> tuple[Any, Any]:
    module = importlib.import_module(f"models.{name}.train")
    data = module.load()
    return module.fit(data.train), data
