"""Every trial by its name, and how several run side by side."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context

from tests.drill import disturbances, trial
from tests.drill.cases import CASES
from tests.drill.trial import Met, Report

SEED = 7
# Most of a release is waiting for evidence: three at a time keep two processors busy.
AT_ONCE = 3
SHORT = ("good", "errors-for-callers", "swapped")
# Those that take long come first.
TRIALS: dict[str, Callable[[], Report]] = {
    "killed, bad": partial(disturbances.killed, "errors-for-callers", SEED),
    "killed, good": partial(disturbances.killed, "good", SEED),
    "troubled, good": partial(disturbances.troubled, "good"),
    "troubled, bad": partial(disturbances.troubled, "errors-for-callers"),
    **{name: partial(trial.release, case) for name, case in CASES.items()},
    "killed at its last word": disturbances.killed_at_its_last_word,
    "two at once": disturbances.two_at_once,
    "two pushes": disturbances.two_pushes,
    "rolled back by hand": disturbances.rolled_back_by_hand,
}


def run(names: Sequence[str], at_once: int) -> Iterator[tuple[str, Report]]:
    """Yield each trial's report as it ends; each has a cloud of its own, in a process that others do not slow down."""
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        under_way = {pool.submit(attempt, name): name for name in names}
        for done in as_completed(under_way):
            yield under_way[done], done.result()


def attempt(name: str) -> Report:
    """Run a trial; one that cannot be brought to its end is a fault like any other."""
    try:
        return TRIALS[name]()
    except Exception:
        trace = traceback.format_exc()
        return Report(name, "not brought to its end", Met(0, 0.0, Counter()), 0.0, trace.splitlines()[-1], (trace,))
