"""How often the gate refuses candidates that are as good, and spoiled ones: python -m tests.gate_study.

A champion and a candidate are made by the same recipe from rows of their own, and compared on rows that neither was
fitted on: all that differs is chance. No two retrainings differ by more, for theirs share most rows. Spoiled candidates
are made of the same rows as the equally good one.
"""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from lifecycle.gate import find_differences
from lifecycle.opponents import Opposing, Question
from lifecycle.packaging import Fitted, find_outcomes, outputs_of
from lifecycle.recipe import Source, read_source
from lifecycle.signature import learn_features, learn_signature

GOOD = "as good"
SPOILED: dict[str, Callable[[pd.DataFrame, str, np.random.Generator], pd.DataFrame]] = {
    GOOD: lambda frame, target, random: frame,
    "a tenth of the rows": lambda frame, target, random: frame.sample(frac=0.1, random_state=1),
    "a fifth of labels mixed": lambda frame, target, random: mixed(frame, target, 0.2, random),
    "half of labels mixed": lambda frame, target, random: mixed(frame, target, 0.5, random),
    "all labels mixed": lambda frame, target, random: mixed(frame, target, 1.0, random),
    "best column lost": lambda frame, target, random: lost(frame, target, random),
}


class Refused(NamedTuple):
    """Of so many candidates so many were refused, and what they lost on average by the first agreed metric."""

    tried: int
    refused: int
    loss: float


def mixed(frame: pd.DataFrame, target: str, share: float, random: np.random.Generator) -> pd.DataFrame:
    """Return a frame in which a share of the rows have each other's labels."""
    rows = np.flatnonzero(random.random(len(frame)) < share)
    labels = frame[target].to_numpy(copy=True)
    labels[rows] = labels[random.permutation(rows)]
    return frame.assign(**{target: pd.array(labels, dtype=frame[target].dtype)})


def lost(frame: pd.DataFrame, target: str, random: np.random.Generator) -> pd.DataFrame:
    """Return a frame whose best column tells nothing any more."""
    truth = frame[target] == frame[target].value_counts().index[-1]

    def area(name: str) -> float:
        means = truth.groupby(frame[name].rank(pct=True).round(1) if frame[name].dtype != "str" else frame[name]).mean()
        codes = frame[name].rank(pct=True).round(1) if frame[name].dtype != "str" else frame[name]
        return float(roc_auc_score(truth, codes.map(means).fillna(0)))

    best = max((name for name in frame.columns if name != target), key=area)
    return frame.assign(**{best: frame[best].array[random.permutation(len(frame))]})


def study(name: str, repeats: int, cases: list[str], rows: int | None = None) -> dict[str, Refused]:
    """Return how many candidates of each case were refused by an example model's own metrics and slices."""
    source = read_source(name)
    data = source.load()
    pool = pd.concat([data.train, data.test], ignore_index=True)
    target = data.targets[0]
    outcome: dict[str, list[tuple[bool, float]]] = {case: [] for case in cases}
    for repeat in range(repeats):
        shuffled = pool.sample(frac=1, random_state=repeat).iloc[:rows]
        share = int(0.4 * len(shuffled))
        old, new, test = shuffled.iloc[:share], shuffled.iloc[share : 2 * share], shuffled.iloc[2 * share :]
        champion = _fitted(source, old, test, old, target)
        for case in cases:
            spoiled = SPOILED[case](new, target, np.random.default_rng(repeat))
            outcome[case].append(_compare(source, _fitted(source, spoiled, test, new, target), champion))
    return {
        case: Refused(len(found), sum(refused for refused, _ in found), float(np.mean([loss for _, loss in found])))
        for case, found in outcome.items()
    }


def _fitted(source: Source, rows: pd.DataFrame, test: pd.DataFrame, known: pd.DataFrame, target: str) -> Fitted:
    return Fitted(source.name, source.fit(rows.copy()), known, test, [target], measured=True, trained_here=True)


def _compare(source: Source, candidate: Fitted, champion: Fitted) -> tuple[bool, float]:
    names = [column for column in candidate.train.columns if column not in candidate.targets]
    features = learn_features(candidate.train[names], {})
    signature = learn_signature(
        candidate.pipeline, candidate.train[names], features, candidate.targets, source.recipe.task
    )
    question = Question(candidate, signature, source.recipe.positive, np.arange(len(candidate.test)))
    ours, theirs = (
        find_outcomes(
            question.test, signature, outputs_of(one.pipeline, signature, question.test[names]), question.positive
        )
        for one in (candidate, champion)
    )
    # The champion refreshed is the same recipe on the same rows: it halves the level, and refuses nothing by itself.
    opponents = [Opposing(name, theirs, question.rows) for name in ("champion", "refreshed")]
    found, _ = find_differences(question, ours, opponents, source.recipe.acceptance)
    first = next(
        one for one in found if one.against != "constant" and one.metric == next(iter(source.recipe.acceptance.metrics))
    )
    return any(one.worse for one in found), -first.difference


def main(arguments: list[str]) -> None:
    """Print what docs/models.md says of it: of spoiled candidates a fifth as many, for they are no close call."""
    repeats = int(arguments[0]) if arguments else 200
    with threadpool_limits(limits=1):
        for name in arguments[1:] or ["churn", "reviews", "maintenance"]:
            start = time.monotonic()
            whole, fifth = (
                study(name, repeats, [GOOD]),
                study(name, repeats // 5, [case for case in SPOILED if case != GOOD]),
            )
            for case, found in (whole | fifth).items():
                share = f"{found.refused} of {found.tried} refused ({found.refused / found.tried:.1%})"
                print(f"{name:12} {case:24} {share}, first metric {found.loss:+.4f} worse on average", flush=True)
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
