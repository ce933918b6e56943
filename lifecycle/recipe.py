"""What a data scientist writes: model.yaml as a checked Recipe, and the two functions of train.py."""

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pandas as pd
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from sklearn.base import BaseEstimator

from function.contract import Label, Privacy
from lifecycle.data import Data
from lifecycle.errors import Missing, RecipeInvalid
from lifecycle.metrics import METRICS
from lifecycle.versions import check_name

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
IN_WORDS = {"model_type": "keys and values are expected", "tuple_type": "a list is expected"}  # pydantic names classes


def _is_metric(name: str) -> str:
    if not any(name in metrics for metrics in METRICS.values()):
        raise ValueError(f"no metric; there are {', '.join(name for metrics in METRICS.values() for name in metrics)}")
    return name


MetricName = Annotated[str, AfterValidator(_is_metric)]


class Part(BaseModel):
    """A part of model.yaml: unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Bound(Part):
    """A lower or an upper limit, or both."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _has_one(self) -> "Bound":
        if self.min is None and self.max is None:
            raise ValueError("min or max is missing")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
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
    metric: MetricName


class GapBound(Bound):
    """A limit on a metric's value on the training frame minus its value on the test frame."""

    metric: MetricName


class Acceptance(Part):
    """Limits agreed before training; a version that misses one is refused."""

    metrics: dict[MetricName, Bound] = Field(min_length=1)
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

    @field_validator("positive", mode="before")
    @classmethod
    def _plain(cls, label: object) -> object:
        if not isinstance(label, Label | None):
            raise ValueError("a class is text, a number, true or false")  # one fault instead of one for each of them
        return label


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: of two limits, PyYAML would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} stands twice", key.start_mark)
            seen |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        return super().construct_mapping(node, deep)


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


def read_source(name: str, models: Path = MODELS) -> Source:
    """Return a model's folder; raises Missing, or RecipeInvalid with every fault of both files."""
    folder = models / check_name(name)
    if not folder.is_dir():
        there = sorted(path.parent.name for path in models.glob("*/train.py"))
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


def check_columns(recipe: Recipe, frame: pd.DataFrame, targets: Sequence[str], where: Callable[[str], str]) -> None:
    """Hold every column and class that model.yaml names to the data; raises RecipeInvalid with every fault."""
    named = {
        "acceptance.slices.by": recipe.acceptance.slices.by if recipe.acceptance.slices else (),
        "inputs": tuple(recipe.inputs),
        "privacy.omit": recipe.privacy.omit,
        "privacy.hash": recipe.privacy.hash,
    }
    faults = [
        f"{where(key)}: {key}: the data has no column {name}"
        for key, names in named.items()
        for name in names
        if name not in frame.columns
    ]
    if recipe.task == "classification" and recipe.positive is not None and len(targets) == 1:
        faults += _positive_faults(recipe.positive, frame[targets[0]].dropna().unique().tolist(), where)
    if faults:
        raise RecipeInvalid("model.yaml does not fit the data:", faults)


def train_line(error: BaseException, name: str) -> str:
    """Return the file of train.py, with the line that an error came through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith("train.py")]
    return f"models/{name}/train.py" + (f":{lines[-1]}" if lines else "")


def _positive_faults(positive: Label, classes: list[Any], where: Callable[[str], str]) -> Iterator[str]:
    if (type(positive), positive) in [(type(label), label) for label in classes]:
        return
    shown = ", ".join(repr(label) for label in classes[:10])
    hint = "; a bare Yes or No is a boolean in YAML, in quotes it is text" if isinstance(positive, bool) else ""
    yield f"{where('positive')}: positive: {positive!r} is no class; the data has {shown}{hint}"


def _read_recipe(path: Path) -> tuple[Recipe | None, Where | None, list[str]]:
    if not path.is_file():
        return None, None, [f"{path.name} is missing"]
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        where = Where(path, text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that no calendar has
        return None, None, [_yaml_fault(path, error)]
    if not isinstance(content, dict):
        return None, None, [f"{path.name} must hold keys and values, found {type(content).__name__}"]
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        return None, where, [_fault(where, dict(line)) for line in error.errors(include_url=False)]
    known = METRICS[recipe.task]
    wrong = [
        f"{where(key)}: {key}: {name} is no metric of a {recipe.task}; there are {', '.join(known)}"
        for key, name in recipe.metric_names().items()
        if name not in known
    ]
    return (None if wrong else recipe), where, wrong


def _yaml_fault(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{path.name} is no YAML: {' '.join(str(error).split())}"
    return f"{path.name}:{mark.line + 1}: {getattr(error, 'problem', error)}"


def _fault(where: Where, line: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in line["loc"] if part != "[key]")
    place = where(key)
    if line["type"] == "missing":
        return f"{place}: {key} is missing"
    if line["type"] == "extra_forbidden":
        return f"{place}: {key} is not known here"
    message = IN_WORDS.get(line["type"]) or line["msg"].removeprefix("Value error, ")
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
    sys.modules[spec.name] = module  # dataclasses look their module up; afterwards nothing may be pickled by this name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        return {}, [f"{train_line(error, name)} cannot be imported: {type(error).__name__}: {error}"]
    finally:
        del sys.modules[spec.name]
    functions = vars(module)
    missing = [f"train.py has no function {word}()" for word in ("load", "fit") if not callable(functions.get(word))]
    return functions, missing
