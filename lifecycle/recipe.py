"""What a data scientist writes: model.yaml as a checked Recipe, and the two functions of train.py."""

import importlib.util
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pandas as pd
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from sklearn.base import BaseEstimator

from function.contract import Label, Privacy
from lifecycle.data import Data
from lifecycle.errors import Missing, RecipeInvalid
from lifecycle.metrics import METRICS
from lifecycle.versions import check_name

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
IN_WORDS = {  # pydantic names classes
    "bool_type": "true or false is expected",
    "model_type": "keys and values are expected",
    "tuple_type": "a list is expected",
}


def _is_metric(name: str, info: ValidationInfo) -> str:
    """Return a metric's name; the task is the context that model.yaml is read in, and a manifest's recipe has none."""
    task = (info.context or {}).get("task")
    tasks = [task] if isinstance(task, str) and task in METRICS else list(METRICS)
    known = [metric for task in tasks for metric in METRICS[task]]
    if name in known:
        return name
    near = "".join(f"did you mean {metric}? " for metric in get_close_matches(name, known, 1))
    text = f"{name} is no metric of a {' or a '.join(tasks)}; {near}there are {', '.join(known)}"
    raise PydanticCustomError("no_metric", "{text}", {"text": text})


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
    known: tuple[str, ...] = ()  # features that may tell the target by themselves: they are known beforehand


class InputPolicy(Part):
    """What to do with a feature's values that training never had, where the default is not wanted."""

    outside: Literal["reject", "mark"] = "mark"
    factor: float = Field(default=1.0, ge=0)
    unseen: Literal["reject", "mark"] = "reject"
    missing: Literal["reject", "accept"] | None = None


class Serving(Part):
    """How a version is served, and the goals that its alerts watch."""

    bake: StrictBool = False
    latency_ms: float = Field(default=300, gt=0, lt=60_000)
    latency_goal: float = Field(default=0.99, ge=0.5, le=0.9999)
    availability: float = Field(default=0.995, ge=0.5, le=0.9999)


class Rollout(Part):
    """The traffic steps of a release, in percent, and what its judge tolerates."""

    steps: tuple[int, ...] = (5, 25, 50, 100)
    minutes_per_step: float = Field(default=15, gt=0)
    disagreement: float = Field(default=0.1, ge=0, le=1)
    requests: int = Field(default=100, ge=1)
    false_rollbacks: float = Field(default=0.01, gt=0, le=0.2)
    slower: float = Field(default=1.1, ge=1, le=100)
    shifted: float = Field(default=1.5, ge=1, le=1000)

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

    @field_validator("positive", mode="before")
    @classmethod
    def _plain(cls, label: object) -> object:
        if not isinstance(label, Label | None):
            raise ValueError("a class is text, a number, true or false")  # one fault instead of one for each of them
        return label

    @field_validator("positive")
    @classmethod
    def _of_classes(cls, label: Label | None, info: ValidationInfo) -> Label | None:
        if label is not None and info.data.get("task") == "regression":
            raise ValueError("is for two classes, a regression has none")
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
        self._path = _shown(path)
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


def check_columns(
    recipe: Recipe, columns: Collection[str], classes: Sequence[Label] | None, where: Callable[[str], str]
) -> None:
    """Hold every column and class that model.yaml names to what there is; raises RecipeInvalid with every fault.

    `classes` are the target's, nothing where there are several targets, and None where nobody knows them yet.
    """
    named = {
        "acceptance.known": recipe.acceptance.known,
        "acceptance.slices.by": recipe.acceptance.slices.by if recipe.acceptance.slices else (),
        "inputs": tuple(recipe.inputs),
        "privacy.omit": recipe.privacy.omit,
        "privacy.hash": recipe.privacy.hash,
    }
    faults = [
        f"{where(key)}: {key}: the data has no column {name}"
        for key, names in named.items()
        for name in names
        if name not in columns
    ]
    if recipe.positive is not None and classes is not None:
        faults += _positive_faults(recipe.positive, classes, where)
    if faults:
        raise RecipeInvalid("model.yaml does not fit the data:", faults)


def train_line(error: BaseException, name: str) -> str:
    """Return the file of train.py, with the line that an error came through, or that is no Python."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith("train.py")]
    if isinstance(error, SyntaxError) and (error.filename or "").endswith("train.py"):
        lines.append(error.lineno)
    return f"models/{name}/train.py" + (f":{lines[-1]}" if lines else "")


def _positive_faults(positive: Label, classes: Sequence[Label], where: Callable[[str], str]) -> Iterator[str]:
    shown = ", ".join(repr(label) for label in classes[:10]) + (", ..." if len(classes) > 10 else "")
    if len(classes) != 2:
        found = f"the target has {len(classes)}: {shown}" if classes else "there are several targets"
        yield f"{where('positive')}: positive: is for two classes, {found}; leave it out"
    elif (type(positive), positive) not in [(type(label), label) for label in classes]:
        hint = "; a bare Yes or No is a boolean in YAML, in quotes it is text" if isinstance(positive, bool) else ""
        yield f"{where('positive')}: positive: {positive!r} is no class; the target has {shown}{hint}"


def _shown(path: Path) -> Path:
    """Return a path as faults name it: below the repository, where it is there."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _read_recipe(path: Path) -> tuple[Recipe | None, Where | None, list[str]]:
    if not path.is_file():
        return None, None, [f"{_shown(path)} is missing"]
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        where = Where(path, text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that no calendar has
        return None, None, [_yaml_fault(path, error)]
    if content is None:
        return None, None, [f"{_shown(path)} is empty"]
    if not isinstance(content, dict):
        return None, None, [f"{_shown(path)}: keys and values are expected, found a {type(content).__name__}"]
    try:
        return Recipe.model_validate(content, context={"task": content.get("task")}), where, []
    except ValidationError as error:
        return None, where, [_fault(where, dict(line)) for line in error.errors(include_url=False)]


def _yaml_fault(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{_shown(path)} is no YAML: {' '.join(str(error).split())}"
    return f"{_shown(path)}:{mark.line + 1}: {getattr(error, 'problem', error)}"


def _fault(where: Where, line: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in line["loc"] if part != "[key]")
    place = where(key)
    if line["type"] == "missing":
        return f"{place}: {key} is missing"
    if line["type"] == "extra_forbidden":
        return f"{place}: {key} is not known here"
    message = IN_WORDS.get(line["type"]) or line["msg"].removeprefix("Value error, ")
    text = f"{key}: {message}" if key else message
    told = line["type"] == "no_metric" or isinstance(line["input"], dict | BaseModel)
    found = "" if told else f", found {line['input']!r}"
    return f"{place}: {text}{found}"


def _import_train(path: Path, name: str) -> tuple[Mapping[str, Any], list[str]]:
    if not path.is_file():
        return {}, [f"models/{name}/train.py is missing"]
    spec = importlib.util.spec_from_file_location(f"models.{name}.train", path)
    if spec is None or spec.loader is None:
        return {}, [f"models/{name}/train.py cannot be imported"]
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up; afterwards nothing may be pickled by this name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        text = error.msg if isinstance(error, SyntaxError) else error
        return {}, [f"{train_line(error, name)} cannot be imported: {type(error).__name__}: {text}"]
    finally:
        del sys.modules[spec.name]
    functions = vars(module)
    missing = [word for word in ("load", "fit") if not callable(functions.get(word))]
    return functions, [f"models/{name}/train.py has no function {word}()" for word in missing]
