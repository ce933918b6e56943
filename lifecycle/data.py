"""What train.py's load() returns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Data:
    """Two frames that both hold the target column or columns; every other column is a feature."""

    train: "pd.DataFrame"
    test: "pd.DataFrame"
    target: str | list[str]

    @property
    def targets(self) -> list[str]:
        """The target columns, also where there is one."""
        return [self.target] if isinstance(self.target, str) else list(self.target)
