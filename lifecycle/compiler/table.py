"""Writes docs/estimators.md: which public estimators are compiled, and why the others are not."""

from collections.abc import Iterator

from sklearn.utils import all_estimators

from lifecycle.compiler import CONVERTERS
from lifecycle.compiler.reasons import REASONS


def table() -> str:
    """Return the page as Markdown."""
    rows = list(_rows())
    count = sum(answer == "compiled" for _, answer in rows)
    head = [
        "# Which estimators are compiled",
        "",
        "Written by `python -m lifecycle.compiler.table > docs/estimators.md`, and held to the code by a test. What",
        "is not compiled is served by scikit-learn itself, unless it says that it is refused. That a class is compiled",
        "means that it can be: some options are not (what computes in float32, metrics and kernels of one's own,",
        "SVC's own probabilities), and each version says whether it was, and why not. What magnifies the last bits,",
        "the classes of a Gaussian process above all, is compiled and often fails its proof by a hair.",
        "",
        f"{count} of the {len(rows)} public estimators of scikit-learn with a `predict` or `transform` are compiled.",
        "",
        "| estimator | |",
        "| --- | --- |",
    ]
    return "\n".join([*head, *(f"| {name} | {answer} |" for name, answer in rows)]) + "\n"


def _rows() -> Iterator[tuple[str, str]]:
    for name, cls in all_estimators():
        if hasattr(cls, "predict") or hasattr(cls, "transform"):
            yield (
                name,
                "compiled" if cls in CONVERTERS else f"scikit-learn: {REASONS.get(name, 'has no converter yet')}",
            )


if __name__ == "__main__":
    print(table(), end="")
