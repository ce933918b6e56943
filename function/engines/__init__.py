"""What computes a prediction: one interface, one file per engine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # the contract and validation need pydantic, which the numpy engine does without
    from function.contract import Method
    from function.validation import Columns

Outputs = dict["Method", Any]


class Engine(Protocol):
    """Turns validated columns into what each asked-for method gives."""

    name: str

    def predict(self, columns: "Columns", methods: "Sequence[Method]") -> Outputs:
        """Return per method a list with one entry a row: a label or number, or a list of floats.

        With several targets `predict` gives a list a row, and `predict_proba` a list of lists a row.
        Raises whatever the model raises on values that it refuses.
        """
