"""Which events a trigger answers: https://cloud.google.com/build/docs/automating-builds/create-manage-triggers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from tests.cloud.errors import unimplemented
from tests.cloud.re2 import compile_pattern
from tests.cloud.schemas import Json

BRANCH, TAG = "refs/heads/", "refs/tags/"
SKIPPING = ("[skip ci]", "[ci skip]")
# One piece of a glob: two stars with the slash after them, an escape, a class of characters, or any other character.
PIECE = re.compile(r"\*\*/|\*\*|\\.|\[\^?(?:\\.|[^\]\\])+\]|.", re.DOTALL)


@dataclass(frozen=True)
class Push:
    """New commits of a branch or a tag; `files` are those that changed."""

    repository: str  # by its full name, projects/P/locations/L/connections/C/repositories/R
    ref: str  # refs/heads/B or refs/tags/T
    commit: str
    files: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class PullRequest:
    """A pull request that was opened or updated, or on which somebody commented /gcbrun."""

    repository: str
    number: int
    head: str
    base: str
    commit: str
    files: tuple[str, ...] = ()
    head_url: str = ""
    from_outside: bool = False  # its author may not write to the repository
    asked_for: bool = False  # somebody who may write to the repository commented /gcbrun


@dataclass(frozen=True)
class Message:
    """A Pub/Sub message, as subscribers get it."""

    topic: str
    message: Json


@dataclass(frozen=True)
class Run:
    """A person's or a program's wish for a run; a ref and substitutions of its own are optional."""

    ref: str = ""
    commit: str = ""
    substitutions: tuple[tuple[str, str], ...] = ()


Event = Push | PullRequest | Message | Run


def fires(trigger: Json, event: Event) -> bool:
    """Tell whether a trigger answers an event; a wish is always answered.

    Raises CloudError: 501 for triggers of the first generation, webhooks and filters in CEL.
    """
    if isinstance(event, Run):
        return True
    if trigger.get("disabled"):
        return False
    if trigger.get("filter"):
        raise unimplemented("filters in CEL")
    if isinstance(event, Message):
        return (trigger.get("pubsubConfig") or {}).get("topic") == event.topic
    rule = trigger.get("repositoryEventConfig") or {}
    if rule.get("repository") != event.repository:
        return False
    answers = _answers_push(rule, event) if isinstance(event, Push) else _answers_pull_request(rule, event)
    return answers and changes(trigger, event.files)


def changes(trigger: Json, files: Iterable[str]) -> bool:
    """Tell whether changed files make a trigger start: one that is not ignored, and is included where any are named."""
    ignored, included = trigger.get("ignoredFiles") or [], trigger.get("includedFiles") or []
    if not ignored and not included:
        return True
    remaining = [file for file in files if not any(matches(glob, file) for glob in ignored)]
    return any(not included or any(matches(glob, file) for glob in included) for file in remaining)


def matches(glob: str, path: str) -> bool:
    """Tell whether a glob of Go's filepath.Match, with ** for any number of folders, matches a path."""
    return _compiled(glob).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile("".join(_translated(piece) for piece in PIECE.findall(glob)), re.DOTALL)


def _translated(piece: str) -> str:
    if piece.startswith("[") and len(piece) > 1:
        return f"(?!/){piece}"
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return known.get(piece) or re.escape(piece[-1])


def _answers_push(rule: Json, event: Push) -> bool:
    push = rule.get("push")
    if push is None or any(mark in event.message for mark in SKIPPING):
        return False
    kind, prefix = ("tag", TAG) if "tag" in push else ("branch", BRANCH)
    if not event.ref.startswith(prefix):
        return False
    return _fits(push.get(kind, ""), event.ref.removeprefix(prefix), push)


def _answers_pull_request(rule: Json, event: PullRequest) -> bool:
    request = rule.get("pullRequest")
    if request is None or not _fits(request.get("branch", ""), event.base, request):
        return False
    control = request.get("commentControl", "COMMENTS_DISABLED")
    needs_comment = control == "COMMENTS_ENABLED" or (control != "COMMENTS_DISABLED" and event.from_outside)
    return event.asked_for or not needs_comment


def _fits(pattern: str, name: str, rule: Json) -> bool:
    """Tell whether a regular expression finds something in a name, or nothing where the trigger turns it round."""
    return (compile_pattern(pattern).search(name) is None) == bool(rule.get("invertRegex"))
