"""Writes docs/estimators.md: which public estimators are compiled, and why the others are not."""

from collections.abc import Iterator

from sklearn.utils import all_estimators

from lifecycle.compiler import CONVERTERS

WHY = {
    "takes images, not the rows of a request": ("PatchExtractor",),
    "gives a pair where a pipeline takes a matrix": ("PLSSVD",),
    "transforms targets, not the rows of a request": ("LabelBinarizer", "LabelEncoder", "MultiLabelBinarizer"),
    "solves an optimization for each row, whose last bits depend on the solver": (
        *("DictionaryLearning", "LatentDirichletAllocation", "MiniBatchDictionaryLearning", "MiniBatchNMF"),
        *("MiniBatchSparsePCA", "NMF", "SparseCoder", "SparsePCA"),
    ),
    "magnifies the last bits of a product: a cosine, a kernel's eigenvectors": (
        *("Isomap", "LocallyLinearEmbedding", "PolynomialCountSketch"),
    ),
    "gives a sparse matrix as wide as the training has rows": ("KNeighborsTransformer", "RadiusNeighborsTransformer"),
}


def table() -> str:
    """Return the page as Markdown."""
    rows = list(_rows())
    count = sum(answer == "compiled" for _, answer in rows)
    head = [
        "# Which estimators are compiled",
        "",
        "Written by `python -m lifecycle.compiler.table > docs/estimators.md`, and held to the code by a test. What",
        "is not compiled is served by scikit-learn itself. That a class is compiled means that it can be: some options",
        "are not, and the proof of each version says whether it was.",
        "",
        f"{count} of the {len(rows)} public estimators of scikit-learn with a `predict` or `transform` are compiled.",
        "",
        "| estimator | |",
        "| --- | --- |",
    ]
    return "\n".join([*head, *(f"| {name} | {answer} |" for name, answer in rows)]) + "\n"


def _rows() -> Iterator[tuple[str, str]]:
    reasons = {name: reason for reason, names in WHY.items() for name in names}
    for name, cls in all_estimators():
        if hasattr(cls, "predict") or hasattr(cls, "transform"):
            yield (
                name,
                "compiled" if cls in CONVERTERS else f"scikit-learn: {reasons.get(name, 'has no converter yet')}",
            )


if __name__ == "__main__":
    print(table(), end="")
