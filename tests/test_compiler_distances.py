"""Clusters, mixtures and centroids: numbers of centers, covariances, metrics, and what sparse rows and pipelines do."""

from typing import Any

import pytest
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.test_compiler import NUMBERS, holds, texts
from tests.test_compiler_bayes import frame_of

FRAME = NUMBERS.drop(columns="kind")
CLUSTERERS: dict[str, Any] = {
    "one": KMeans(1),
    "many": KMeans(12, n_init=1, random_state=0),
    "elkan": KMeans(3, algorithm="elkan", random_state=0),
    "mini-batch": MiniBatchKMeans(4, random_state=0),
    "bisecting": BisectingKMeans(7, random_state=0),
    "bisecting-largest": BisectingKMeans(5, bisecting_strategy="largest_cluster", random_state=0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CLUSTERERS)
def test_clusters_equal_scikit_learn(name: str) -> None:
    """Every row falls into its cluster, and the distances from all of them are features."""
    holds(make_pipeline(StandardScaler(), CLUSTERERS[name]), FRAME, "amount")
    holds(make_pipeline(CLUSTERERS[name], LogisticRegression()), frame_of(2), "kind")


def test_sparse_rows_fall_into_clusters() -> None:
    """Weighted words are clustered as scikit-learn clusters them."""
    vectorizer = make_column_transformer((TfidfVectorizer(), "text"))
    for model in (KMeans(3, random_state=0), BisectingKMeans(4, random_state=0)):
        holds(make_pipeline(vectorizer, model), texts(), "label")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_mixtures_equal_scikit_learn(cls: Any, components: int, covariance: str) -> None:
    """Components and their shares are the same for every form of covariance, scaled and not."""
    model = cls(n_components=components, covariance_type=covariance, random_state=0)
    holds(make_pipeline(StandardScaler(), model), FRAME, "amount")
    holds(model, FRAME, "amount")


def test_weights_of_a_process_are_kept() -> None:
    """A finite Dirichlet distribution weighs the components as scikit-learn does."""
    kind = "dirichlet_distribution"
    holds(
        BayesianGaussianMixture(n_components=3, weight_concentration_prior_type=kind, random_state=0), FRAME, "amount"
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("priors", ["uniform", "empirical"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_centroids_equal_scikit_learn(metric: str, priors: str, classes: int) -> None:
    """Both metrics and all priors give the same classes, and the scores where there are any."""
    holds(NearestCentroid(metric, priors=priors), frame_of(classes), "kind")


def test_centroids_may_be_shrunken() -> None:
    """Shrunken centroids, priors of somebody's choice."""
    holds(NearestCentroid(shrink_threshold=0.3, priors=[0.2, 0.5, 0.3]), frame_of(3), "kind")
