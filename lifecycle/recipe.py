"""What a data scientist writes: model.yaml as a checked Recipe, and the two functions of train.py."""

import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from sklearn.base import BaseEstimator

from function.contract import Label, Privacy
from lifecycle.data import Data
from lifecycle.errors import Missing, RecipeInvalid
from lifecycle.metrics import METRICS

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")  # a Cloud Run service and a service account are called after it


class Part(BaseModel):
    """A part of model.yaml: unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bound(Part):
    """A lower or an upper limit, or both."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _has_one(self) -> "Bound":
        if self.min is None and self.max is None:
            raise ValueError("min or max is missing")
        return self

    def holds(self, value: float) -> bool:
        """Tell whether a value is within the limit; NaN never is."""
        above = self.min is None or value >= self.min
        below = self.max is None or value <= self.max
        return above and below and value == value

    def text(self) -> str:
        """Return the limit in words."""
        low = f"at least {self.min:g}" if self.min is not None else ""
        high = f"at most {self.max:g}" if self.max is not None else ""
        return " and ".join(word for word in (low, high) if word)


class SliceBound(Bound):
    """A limit that a metric keeps within every group of rows that share a value of a column."""

    by: tuple[str, ...] = Field(min_length=1)
    metric: str


class GapBound(Bound):
    """A limit on a metric's value on the training frame minus its value on the test frame."""

    metric: str


class Acceptance(Part):
    """Limits agreed before training; a version that misses one is refused."""

    metrics: dict[str, Bound] = Field(min_length=1)
    slices: SliceBound | None = None
    gap: GapBound | None = None
    artifact_mb: Bound | None = None


class InputPolicy(Part):
    """What to do with a feature's values that training never had, where the default is not wanted."""

    outside: Literal["reject", "mark"] = "mark"
    factor: float = Field(default=1.0, ge=0)
    unseen: Literal["reject", "mark"] = "reject"
    missing: Literal["reject", "accept"] | None = None


class Serving(Part):
    """How a version is served, and the goals that its alerts watch."""

    bake: bool = False
    latency_ms: float = Field(default=300, gt=0)
    availability: float = Field(default=0.995, gt=0, lt=1)


class Rollout(Part):
    """The traffic steps of a release, in percent."""

    steps: tuple[int, ...] = (5, 25, 50, 100)
    minutes_per_step: float = Field(default=15, gt=0)

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted({*steps}) or not steps or steps[0] < 1 or steps[-1] != 100:
            raise ValueError("steps rise from at least 1 to 100")
        return steps


class Monitoring(Part):
    """What is watched once a version answers."""

    drift_threshold: float = Field(default=0.2, gt=0)


class Maintenance(Part):
    """Who keeps the model good, with what, and the way back."""

    retrain: str = Field(min_length=1)
    data: str = Field(min_length=1)
    tell: str = Field(min_length=1)
    go_back: str = Field(min_length=1)


class Recipe(Part):
    """A model.yaml."""

    purpose: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    task: Literal["classification", "regression"]
    positive: Label | None = None
    acceptance: Acceptance
    inputs: dict[str, InputPolicy] = {}
    privacy: Privacy
    serving: Serving = Serving()
    rollout: Rollout = Rollout()
    monitoring: Monitoring = Monitoring()
    maintenance: Maintenance

    def metric_names(self) -> dict[str, str]:
        """Return every metric that a limit names, by the key where it is named."""
        named = {f"acceptance.metrics.{name}": name for name in self.acceptance.metrics}
        if self.acceptance.slices:
            named["acceptance.slices.metric"] = self.acceptance.slices.metric
        if self.acceptance.gap:
            named["acceptance.gap.metric"] = self.acceptance.gap.metric
        return named

    @model_validator(mode="after")
    def _known_metrics(self) -> "Recipe":
        known = METRICS[self.task]
        wrong = [f"{key}: no metric of a {self.task}" for key, name in self.metric_names().items() if name not in known]
        if wrong:
            raise ValueError(f"{'; '.join(wrong)}; there are {', '.join(known)}")
        return self


class Source(NamedTuple):
    """A model's folder, read: the recipe, the two functions, and where in model.yaml each key stands."""

    name: str
    recipe: Recipe
    load: Callable[[], Data]
    fit: Callable[[pd.DataFrame], BaseEstimator]
    where: "Where"


class Where:
    """Finds the line of model.yaml on which a dotted key stands."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        self._node = yaml.compose(text, Loader=yaml.SafeLoader)

    def __call__(self, key: str) -> str:
        """Return `file:line` of a key, or of the nearest one above it."""
        node, line = self._node, 1
        for part in key.split("."):
            found = [pair for pair in getattr(node, "value", []) if isinstance(pair, tuple) and pair[0].value == part]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        return f"{self._path}:{line}"


def check_name(name: str) -> str:
    """Return a model's name; raises RecipeInvalid for one that no service could have."""
    if not NAME.fullmatch(name):
        text = "a model is called by up to 40 lower-case letters, digits and hyphens, a letter first"
        raise RecipeInvalid(f"{text}; found {name!r}")
    return name


def read_source(name: str, models: Path = MODELS) -> Source:
    """Return a model's folder; raises Missing, or RecipeInvalid with every fault of both files."""
    folder = models / check_name(name)
    if not folder.is_dir():
        there = sorted(path.name for path in models.iterdir() if path.is_dir()) if models.is_dir() else []
        raise Missing(f"There is no {folder}; the models are: {', '.join(there) or 'none yet'}.")
    path = folder / "model.yaml"
    recipe, where, faults = _read_recipe(path)
    module, more = _import_train(folder / "train.py", name)
    faults += more
    if faults or recipe is None or where is None:
        raise RecipeInvalid(f"models/{name} cannot be used yet:", faults)
    return Source(name, recipe, module["load"], module["fit"], where)


def read_recipe(path: Path) -> Recipe:
    """Return a model.yaml; raises RecipeInvalid with every fault."""
    recipe, _, faults = _read_recipe(path)
    if recipe is None:
        raise RecipeInvalid(f"{path} cannot be used:", faults)
    return recipe


def _read_recipe(path: Path) -> tuple[Recipe | None, Where | None, list[str]]:
    if not path.is_file():
        return None, None, [f"{path.name} is missing"]
    text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
        where = Where(path, text)
    except yaml.YAMLError as error:
        return None, None, [f"{path.name} is no YAML: {' '.join(str(error).split())}"]
    if not isinstance(content, dict):
        return None, None, [f"{path.name} must hold keys and values, found {type(content).__name__}"]
    try:
        return Recipe.model_validate(content), where, []
    except ValidationError as error:
        return None, where, [_fault(where, dict(line)) for line in error.errors(include_url=False)]


def _fault(where: Where, line: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in line["loc"])
    place = where(key)
    if line["type"] == "missing":
        return f"{place}: {key} is missing"
    if line["type"] == "extra_forbidden":
        return f"{place}: {key} is not known here"
    message = line["msg"].removeprefix("Value error, ")
    text = f"{key}: {message}" if key else message
    found = "" if isinstance(line["input"], dict | BaseModel) else f", found {line['input']!r}"
    return f"{place}: {text}{found}"


def _import_train(path: Path, name: str) -> tuple[Mapping[str, Any], list[str]]:
    if not path.is_file():
        return {}, ["train.py is missing"]
    spec = importlib.util.spec_from_file_location(f"models.{name}.train", path)
    if spec is None or spec.loader is None:
        return {}, [f"{path.name} cannot be imported"]
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        return {}, [f"train.py cannot be imported: {type(error).__name__}: {error}"]
    functions = vars(module)
    missing = [f"train.py has no function {word}()" for word in ("load", "fit") if not callable(functions.get(word))]
    return functions, missing
