"""Neural networks: activations, layers, losses, one output and several, dense rows and sparse ones."""

from typing import Any

import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.test_compiler import NUMBERS, holds, texts
from tests.test_compiler_bayes import frame_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of convergence
SMALL: dict[str, Any] = {"hidden_layer_sizes": (5, 4), "max_iter": 20, "random_state": 0}


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_networks_equal_scikit_learn(activation: Any) -> None:
    """Every activation gives the same classes of two and of three, and the same numbers, one and several."""
    for classes in (2, 3):
        classifier = MLPClassifier(activation=activation, **SMALL)
        holds(make_pipeline(StandardScaler(), classifier), frame_of(classes), "kind")
    regressor = make_pipeline(StandardScaler(), MLPRegressor(activation=activation, **SMALL))
    holds(regressor, NUMBERS.drop(columns="kind"), "amount")
    holds(regressor, NUMBERS, ["kind", "amount"])


def test_counts_are_predicted_through_an_exponential() -> None:
    """The Poisson loss ends in an exponential."""
    model = make_pipeline(StandardScaler(), MLPRegressor(loss="poisson", **SMALL))
    holds(model, NUMBERS.drop(columns="kind"), "amount")


def test_a_network_without_hidden_layers_is_linear() -> None:
    """No hidden layer leaves the output alone."""
    model = MLPClassifier(hidden_layer_sizes=(), max_iter=20, random_state=0)
    holds(make_pipeline(StandardScaler(), model), frame_of(3), "kind")


def test_networks_take_sparse_rows() -> None:
    """Weighted words go into the first layer."""
    holds(make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), MLPClassifier(**SMALL)), texts(), "label")
