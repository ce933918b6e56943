"""The fitted pipelines that are measured, on real data: four made here, and every model of the repository by name."""

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

SEED = 20
TREES = 200


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline, rows that it was not fitted on, and the column that it predicts."""

    pipeline: Any
    test: pd.DataFrame
    target: str

    @property
    def features(self) -> pd.DataFrame:
        """The test rows without the target."""
        return self.test.drop(columns=self.target)


def forest() -> Fitted:
    """Return the churn model's columns before a forest of 200 trees."""
    boosted, data = _of_model("churn")
    columns, _ = (step for _, step in boosted.steps)
    pipeline = Pipeline([("columns", clone(columns)), ("forest", RandomForestClassifier(TREES, random_state=SEED))])
    return Fitted(pipeline.fit(data.train.drop(columns=data.target), data.train[data.target]), data.test, data.target)


def linear() -> Fitted:
    """Return a scaler and a logistic regression on 30 numbers: scikit-learn's Wisconsin breast cancer data."""
    data = load_breast_cancer(as_frame=True)
    rows = data.data.assign(diagnosis=data.target_names[data.target])
    train, test = train_test_split(rows, random_state=SEED)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    return Fitted(pipeline.fit(train.drop(columns="diagnosis"), train["diagnosis"]), test, "diagnosis")


def of_repository(name: str) -> Fitted:
    """Return a model of the repository, fitted as `python -m lifecycle train` does; raises ModuleNotFoundError."""
    pipeline, data = _of_model(name)
    return Fitted(pipeline, data.test, data.target)


PIPELINES: dict[str, Callable[[], Fitted]] = {
    "forest": forest,
    "boosting": lambda: of_repository("churn"),
    "text": lambda: of_repository("reviews"),
    "linear": linear,
}


def fit(name: str) -> Fitted:
    """Return what a name stands for: one of PIPELINES, else a model of the repository."""
    return PIPELINES[name]() if name in PIPELINES else of_repository(name)


def _of_model(name: str) -> tuple[Any, Any]:
    module = importlib.import_module(f"models.{name}.train")
    data = module.load()
    return module.fit(data.train), data
