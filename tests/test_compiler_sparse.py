"""Sparse columns beside others, held to scikit-learn: texts with numbers, scaled, selected, projected."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import feature_selection as fs
from sklearn import linear_model as lm
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import BaggingClassifier, GradientBoostingClassifier, RandomForestClassifier, StackingClassifier
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import murmurhash3_32

from function.engines.operations.hashes import murmurhash3
from tests.test_compiler import ROWS, holds, mixed, prove, texts

MANY = [f"word{number}" for number in range(400)]


def rich() -> pd.DataFrame:
    """Return texts of many words beside numbers, categories and flags."""
    random = np.random.default_rng(7)
    frame = mixed()[["age", "income", "city", "member", "size"]]
    frame["text"] = [" ".join(random.choice(MANY, random.integers(0, 12))) for _ in range(ROWS)]
    frame["place"] = random.choice(MANY, ROWS)
    frame["label"] = np.where(frame.age + frame.text.str.len() + random.normal(0, 9, ROWS) > 110, "yes", "no")
    return frame


def beside(text: Any = None, number: Any = None, **options: Any) -> ColumnTransformer:
    """Return texts, imputed numbers, one-hot categories and a flag side by side."""
    parts = [
        ("text", text or TfidfVectorizer(), "text"),
        ("number", make_pipeline(SimpleImputer(), number or MinMaxScaler()), ["age", "income", "size"]),
        ("category", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ("flag", "passthrough", ["member"]),
    ]
    return ColumnTransformer(parts, **options)


MODELS: list[Any] = [
    *(lm.LogisticRegression(), lm.RidgeClassifier(), lm.SGDClassifier(loss="log_loss", random_state=0), LinearSVC()),
    *(MultinomialNB(), ComplementNB(), BernoulliNB(), BernoulliNB(binarize=0.3)),
    *(DecisionTreeClassifier(random_state=0), RandomForestClassifier(9, random_state=0)),
    *(GradientBoostingClassifier(n_estimators=5), MLPClassifier((3,), max_iter=5, random_state=0)),
    BaggingClassifier(lm.LogisticRegression(), 3, max_features=0.5, random_state=0),
    BaggingClassifier(n_estimators=3, random_state=0),
    StackingClassifier([("a", lm.LogisticRegression())], DecisionTreeClassifier(), cv=2, passthrough=True),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_models_read_texts_beside_numbers(model: Any) -> None:
    """Whatever accepts a sparse matrix gives what scikit-learn gives for words, numbers and categories in one row."""
    pipeline = make_pipeline(beside(), model)
    holds(pipeline, rich(), "label")
    assert pipeline[0].sparse_output_


JOINS: dict[str, Any] = {
    "dense-after-all": beside(sparse_threshold=0.0),
    "counts": beside(CountVectorizer(), StandardScaler()),
    "weighted": beside(transformer_weights={"text": 0.3, "number": 2}),
    "words-and-characters": beside(make_union(TfidfVectorizer(), TfidfVectorizer(analyzer="char_wb"))),
    "projected-beside": beside(make_pipeline(TfidfVectorizer(), TruncatedSVD(4, random_state=0))),
    "selected-beside": beside(make_pipeline(TfidfVectorizer(), fs.SelectKBest(k=20))),
    "many-categories": make_column_transformer(
        (OneHotEncoder(categories=[MANY], handle_unknown="ignore"), ["place"]), ("passthrough", ["age"])
    ),
    "many-strict": make_column_transformer(
        (OneHotEncoder(categories=[MANY], drop="first"), ["place"]), ("passthrough", ["age"])
    ),
    "columns-of-sparse": make_pipeline(
        beside(),
        ColumnTransformer([("a", MaxAbsScaler(), [1, 300, 2, 7]), ("b", "passthrough", slice(-4, None))]),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", JOINS)
def test_sparse_columns_stand_beside_others(name: str) -> None:
    """Parts of every kind are joined in their places, weighted, and made dense where scikit-learn makes them."""
    holds(make_pipeline(JOINS[name], lm.LogisticRegression()), rich(), "label")


STEPS: list[Any] = [
    *(MaxAbsScaler(), MaxAbsScaler(clip=True), StandardScaler(with_mean=False), RobustScaler(with_centering=False)),
    *(Normalizer(), Normalizer("l1"), Normalizer("max"), Binarizer(threshold=0.2), fs.VarianceThreshold(1e-3)),
    *(fs.SelectKBest(fs.chi2, k=30), fs.SelectPercentile(percentile=5), TruncatedSVD(5, random_state=0)),
    fs.SelectFromModel(lm.LogisticRegression(), max_features=9),
    fs.SelectFromModel(RandomForestClassifier(5, random_state=0)),
    make_union(MaxAbsScaler(), TruncatedSVD(2, random_state=0)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step).partition(" at 0x")[0])  # the same in each worker
def test_sparse_columns_are_changed_as_scikit_learn_changes_them(step: Any) -> None:
    """Scaling, selecting and projecting a sparse matrix gives what scikit-learn gives."""
    pipeline = make_pipeline(beside(), step, lm.LogisticRegression(max_iter=1000))
    holds(pipeline, rich(), "label")


def test_many_words_are_never_made_dense() -> None:
    """More columns than a dense matrix may have are counted, scaled, selected and compared by trees all the same."""
    frame = rich()
    vocabulary = [*MANY, *(f"other{number}" for number in range(30_000))]
    for steps in (
        [MaxAbsScaler(), fs.VarianceThreshold(), lm.LogisticRegression()],
        [StandardScaler(with_mean=False), RandomForestClassifier(5, random_state=0)],
    ):
        holds(make_pipeline(beside(CountVectorizer(vocabulary=vocabulary)), *steps), frame, "label")


def test_what_would_be_too_wide_is_not_compiled() -> None:
    """A step that needs a dense matrix of too many columns is named."""
    vocabulary = [f"other{number}" for number in range(30_000)]
    terms = make_column_transformer((CountVectorizer(vocabulary=vocabulary), "text"))
    frame = texts()
    model = make_pipeline(terms, Binarizer(), make_union(SimpleImputer()), lm.LogisticRegression())
    proof = prove(model.fit(frame[["text"]], frame.label), frame, "label")
    assert proof.reason == "Pipeline: FeatureUnion: SimpleImputer: makes 30000 sparse columns dense"


HASHED: dict[str, Any] = {
    "words": HashingVectorizer(),
    "pairs": HashingVectorizer(ngram_range=(1, 2), norm="l1", n_features=1000, stop_words="english"),
    "characters": HashingVectorizer(analyzer="char", ngram_range=(2, 3), norm=None),
    "within-words": HashingVectorizer(analyzer="char_wb", alternate_sign=False, strip_accents="unicode"),
    "few-columns": HashingVectorizer(n_features=7, lowercase=False),
    "few-columns-binary": HashingVectorizer(n_features=5, binary=True),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HASHED)
def test_hashed_terms_equal_scikit_learn(name: str) -> None:
    """Terms stand in the columns of their hashes, those that share one or cancel out too, alone and beside numbers."""
    holds(make_pipeline(beside(HASHED[name]), lm.SGDClassifier(random_state=0)), rich(), "label")
    frame = texts()
    as_list = make_pipeline(HASHED[name], TfidfTransformer(), lm.RidgeClassifier()).fit(frame.text, frame.label)
    assert prove(as_list, frame, "label").verdict == "holds"


@pytest.mark.parametrize("signed", [True, False])
def test_hashed_records_equal_scikit_learn(signed: bool) -> None:
    """Dictionaries of texts, numbers and flags are hashed by their names, what is missing or zero left out."""
    frame = mixed()[["city", "age", "income", "member", "label"]]
    features = frame.drop(columns="label")
    dictionaries = [{k: v for k, v in row.items() if v == v} for row in features.to_dict("records")]
    hasher = FeatureHasher(n_features=2**10, alternate_sign=signed)
    model = make_pipeline(hasher, RandomForestClassifier(5, random_state=0)).fit(dictionaries, frame.label)
    assert prove(model, frame, "label").verdict == "holds"


def test_hashes_equal_scikit_learn() -> None:
    """Texts of every length, script and emoji have scikit-learn's hash."""
    random = np.random.default_rng(1)
    letters = np.array(list("az é日👍"))
    for length in (*range(20), 100):
        for _ in range(50):
            text = "".join(random.choice(letters, length))
            assert murmurhash3(text) == murmurhash3_32(text, 0)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_support_vectors_of_sparse_rows_equal_scikit_learn(kernel: Any) -> None:
    """A support vector machine on texts keeps sparse vectors, and answers as its dense twin does."""
    holds(make_pipeline(beside(TfidfVectorizer()), SVC(kernel=kernel)), rich(), "label")
