"""A model that trains in a moment, on rows that a test may change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from function.store import FileStore
from lifecycle import training
from lifecycle.decision import Decision
from lifecycle.errors import GateRefused
from tests.test_recipe import RECIPE, write_model

TINY = """
from pathlib import Path
import pandas as pd
from sklearn.linear_model import LogisticRegression
from lifecycle import Data

def load():
    frame = pd.read_csv(Path(__file__).parent / "rows.csv")
    return Data(train=frame[:400], test=frame[400:], target=frame.columns[-1])

def fit(train):
    return LogisticRegression().fit(train[["age"]], train[train.columns[-1]])
"""


class Tiny:
    """The model, and the store that it is trained into."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder / "store")
        self.models = folder / "models"
        recipe = RECIPE.replace("Yes", "yes").replace("min: 0.5", "min: 0")  # the gate alone is to refuse
        self.folder = write_model(self.models, "toy", recipe, TINY)
        self.write()

    def write(self, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame, seed: int = 0) -> None:
        """Write rows of which age tells something, changed; two thirds are trained on."""
        random = np.random.default_rng(seed)
        age = random.normal(40, 10, 600)
        label = np.where(age + random.normal(0, 10, 600) > 40, "yes", "no")
        city = random.choice(["Bern", "Genf"], 600)
        change(pd.DataFrame({"age": age, "city": city, "label": label})).to_csv(self.folder / "rows.csv", index=False)

    def train(self, **wishes: Any) -> training.Made:
        """Train on what was written."""
        made = training.train(self.store, "toy", lambda _: None, models=self.models, **wishes)
        assert isinstance(made, training.Made)
        return made

    def decide(self, **wishes: Any) -> Decision:
        """Return the decision on what was written, be it a refusal."""
        try:
            decision = self.train(**wishes).decision
        except GateRefused as error:
            return Decision.model_validate(error.decision)
        assert decision is not None
        return decision

    def edit(self, version: int, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change a version's manifest."""
        file = Path(self.store.url.removeprefix("file://")) / f"toy/{version}/manifest.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
