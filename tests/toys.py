"""Small, real fitted pipelines of every shape that is served, and the versions made of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from function.store import Store
from lifecycle.packaging import Fitted, assemble
from lifecycle.versions import Version, publish

ROWS = 120


class Toy(NamedTuple):
    """A fitted pipeline and the frame of features that it was fitted on, targets beside them."""

    pipeline: Any
    frame: pd.DataFrame
    targets: list[str]

    @property
    def features(self) -> pd.DataFrame:
        """The frame without its targets."""
        return self.frame.drop(columns=self.targets)


def mixed_frame() -> pd.DataFrame:
    """Return numbers, whole numbers, text, booleans, categories and dates, some missing."""
    random = np.random.default_rng(7)
    numbers = random.normal(50, 20, ROWS).round(3)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, ROWS),
            "income": np.where(random.random(ROWS) < 0.1, np.nan, numbers),
            "city": random.choice(["Bern", "Genève", "Zürich"], ROWS),
            "member": random.random(ROWS) < 0.5,
            "plan": pd.Categorical(random.choice(["free", "paid"], ROWS), categories=["free", "paid", "team"]),
        }
    )
    frame["label"] = np.where(frame.age + frame.member * 30 + random.normal(0, 10, ROWS) > 65, "yes", "no")
    return frame


def binary() -> Toy:
    """Text labels from mixed columns."""
    frame = mixed_frame()
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
        ("passthrough", ["member"]),
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame.drop(columns="label"), frame.label)
    return Toy(pipeline, frame, ["label"])


def multiclass() -> Toy:
    """Whole numbers as labels, a matrix as input: no feature names."""
    frame = load_iris(as_frame=True).frame.rename(columns={"target": "species"})
    features = frame.drop(columns="species")
    return Toy(RandomForestClassifier(5, random_state=0).fit(features.to_numpy(), frame.species), frame, ["species"])


def truth() -> Toy:
    """Booleans as labels."""
    frame = mixed_frame()[["age", "label"]].assign(label=lambda f: f.label == "yes")
    return Toy(LogisticRegression().fit(frame[["age"]], frame.label), frame, ["label"])


def regression() -> Toy:
    """One number."""
    frame = mixed_frame()[["age", "income"]].dropna()
    return Toy(LinearRegression().fit(frame[["age"]], frame.income), frame, ["income"])


def several_numbers() -> Toy:
    """Two numbers from one row."""
    frame = mixed_frame()[["age", "income"]].dropna().assign(double=lambda f: f.income * 2)
    pipeline = RandomForestRegressor(3, random_state=0).fit(frame[["age"]], frame[["income", "double"]])
    return Toy(pipeline, frame, ["income", "double"])


def several_classes() -> Toy:
    """Two labels from one row, with probabilities for each."""
    frame = mixed_frame()[["age", "label", "city"]]
    pipeline = MultiOutputClassifier(LogisticRegression()).fit(frame[["age"]], frame[["label", "city"]])
    return Toy(pipeline, frame, ["label", "city"])


def chained_classes() -> Toy:
    """Two labels from one row, the last one decided first and handed on: one probability for each."""
    frame = mixed_frame()[["age", "member"]]
    frame = frame.assign(old=(frame.age > 60).astype(int), level=np.where(frame.member, 5, 2))
    chain = ClassifierChain(LogisticRegression(), order=[1, 0], chain_method="predict_proba")
    pipeline = make_pipeline(StandardScaler(), chain).fit(frame[["age", "member"]], frame[["old", "level"]])
    return Toy(pipeline, frame, ["old", "level"])


def text() -> Toy:
    """One column of text, given as a list."""
    words = ["great tea", "bad coffee, never again", "très bon thé", "stale", "I love it", "no 👍 at all"] * 10
    frame = pd.DataFrame({"review": words, "score": ["good", "bad", "good", "bad", "good", "bad"] * 10})
    frame["review"] += pd.Series([f" {index}" for index in range(len(frame))])
    return Toy(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(frame.review, frame.score), frame, ["score"])


def records() -> Toy:
    """Give DictVectorizer its list of objects."""
    frame = mixed_frame()[["city", "age", "label"]]
    pipeline = make_pipeline(DictVectorizer(), LogisticRegression(max_iter=2000))
    return Toy(pipeline.fit(frame[["city", "age"]].to_dict("records"), frame.label), frame, ["label"])


def named_like_the_format() -> Toy:
    """Features that are called as the native format calls its wrappers."""
    frame = mixed_frame()[["age", "income", "label"]].rename(columns={"age": "features", "income": "instances"})
    pipeline = make_pipeline(SimpleImputer(), LogisticRegression()).fit(frame[["features", "instances"]], frame.label)
    return Toy(pipeline, frame, ["label"])


def uncompiled() -> Toy:
    """Give a step that no converter knows, so that scikit-learn itself serves it."""
    frame = mixed_frame()[["age", "label"]].assign(label=lambda f: f.label == "yes")
    pipeline = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression())
    return Toy(pipeline.fit(frame[["age"]], frame.label), frame, ["label"])


TOYS: dict[str, Callable[[], Toy]] = {
    toy.__name__.replace("_", "-"): toy
    for toy in (
        binary,
        multiclass,
        truth,
        regression,
        several_numbers,
        several_classes,
        chained_classes,
        text,
        records,
        named_like_the_format,
        uncompiled,
    )
}


def publish_toy(store: Store, name: str, toy: Toy, *, measured: bool = False) -> Version:
    """Publish a version of a toy, without the rehearsal in a process of its own."""
    fitted = Fitted(name, toy.pipeline, toy.frame, toy.frame, toy.targets, measured=measured, trained_here=True)
    return publish(store, name, assemble(fitted, None, str, lambda _: None))
