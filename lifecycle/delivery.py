"""The record of a delivery: which commit and build it was, and what became of each model; kept beside the versions."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from function.store import Store
from lifecycle.environment import Environment
from lifecycle.errors import LifecycleError
from lifecycle.image import REFERENCE
from lifecycle.plan import read_plan
from lifecycle.versions import CHALLENGER, CHAMPION, find_number, list_numbers, read_aliases, read_version

FOLDER = "_deliveries"  # no model can be called so
STEPS = ("train", "image", "build", "rollout")  # each leaves its exit code in a file of its name
PLAN = "plan.txt"
IMAGES = Path("build/images")


class Delivered(NamedTuple):
    """A record, and where it is: two objects of the store, as JSON and as Markdown."""

    record: dict[str, Any]
    text: str
    key: str


def record(store: Store, environment: Environment, notes: Path, facts: Mapping[str, str | None]) -> Delivered:
    """Keep the record of a delivery whose steps left notes in a folder; `facts` name its commit, build and run."""
    now, plan = datetime.now(UTC), read_plan(notes / PLAN)
    content = {
        "recorded_at": now.isoformat(timespec="seconds"),
        **facts,
        "environment": environment.name,
        "steps": {step: _code(notes / step) for step in STEPS},
        "terraform": {"summary": plan.summary, "drift": plan.drift} if plan else None,
        "models": {model: _readable(store, model, facts.get("commit")) for model in sorted(environment.models)},
    }
    key = f"{FOLDER}/{now:%Y-%m-%dT%H-%M-%SZ}-{facts.get('build') or 'local'}"
    text = _markdown(content)
    store.create(f"{key}.json", json.dumps(content, indent=1).encode())
    store.create(f"{key}.md", text.encode())
    return Delivered(content, text, key)


def check(delivered: Delivered) -> None:
    """Raise LifecycleError where a step of a delivery failed, with what its exit code means."""
    failed = [f"{step} {_ending(code)}" for step, code in delivered.record["steps"].items() if code != 0]
    if failed:
        raise LifecycleError("The delivery is recorded, but not all of it succeeded:", failed)


def _readable(store: Store, model: str, commit: str | None) -> dict[str, Any]:
    """Return what became of a model; one whose versions cannot be read does not keep others out of the record."""
    try:
        return _model(store, model, commit)
    except LifecycleError as error:
        return {"version": None, "champion": None, "outcome": error.message}


def _model(store: Store, model: str, commit: str | None) -> dict[str, Any]:
    """Return what became of a model: the version to be released, the one that answers, and what was made for them."""
    if not list_numbers(store, model):
        return {"version": None, "champion": None, "outcome": "no version is published"}
    aliases = read_aliases(store, model)
    number, champion = aliases.get(CHALLENGER) or find_number(store, model, None), aliases.get(CHAMPION)
    reference = IMAGES / model / REFERENCE
    made_of = read_version(store, model, number).manifest.git_commit or ""
    verdicts = sorted(entry.key for entry in store.list(f"{model}/{number}/rollouts/") if entry.key.endswith(".json"))
    return {
        "version": number,
        "champion": champion,
        "trained_from_this_commit": commit is not None and made_of.removesuffix("-dirty") == commit,
        "image": reference.read_text(encoding="utf-8") if reference.is_file() else None,
        "verdict": verdicts[-1] if verdicts else None,
        "outcome": _outcome(number, champion),
    }


def _outcome(number: int, champion: int | None) -> str:
    if number == champion:
        return f"version {number} answers"
    before = f"version {champion} answers" if champion else "nothing was released before it"
    return f"version {number} is published but not released; {before}"


def _code(file: Path) -> int | None:
    """Return the exit code that a step left, None where it left none: it was ended."""
    return int(file.read_text()) if file.is_file() else None


def _ending(code: int | None) -> str:
    if code is None:
        return "did not end, or was not reached"
    known = next((kind for kind in _kinds(LifecycleError) if kind.exit_code == code and code != 1), None)
    return f"ended with {code}: {(known.__doc__ or '').splitlines()[0]}" if known else f"ended with {code}"


def _kinds(kind: type[LifecycleError]) -> Iterator[type[LifecycleError]]:
    """Yield a kind of error, then those below it."""
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def _markdown(content: Mapping[str, Any]) -> str:
    return "\n".join([*_head(content), "", *_models(content["models"]), "", *_steps(content), ""])


def _head(content: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Delivery to {content['environment']}, {content['recorded_at']}"
    yield ""
    yield from (f"- {name}: {content[name]}" for name in ("run", "commit", "build") if content.get(name))


def _models(models: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| model | outcome | image built | verdict |"
    yield "| --- | --- | --- | --- |"
    for name, facts in models.items():
        yield f"| {name} | {facts['outcome']} | {facts.get('image') or 'none'} | {facts.get('verdict') or 'none'} |"


def _steps(content: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"- {step}: {_ending(code) if code != 0 else 'succeeded'}" for step, code in content["steps"].items())
    if plan := content["terraform"]:
        drift = " Something was changed outside of Terraform." if plan["drift"] else ""
        yield f"- Terraform: {plan['summary']}{drift}"
