"""Values that stand for names in a build, and how texts are filled in with them.

https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values and, for what triggers take out of the
event, https://cloud.google.com/build/docs/configuring-builds/use-bash-and-bindings-in-substitutions.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.cloud.cloudbuild.filters import BRANCH, TAG, Event, Message, PullRequest
from tests.cloud.errors import invalid, unimplemented
from tests.cloud.schemas import Json

USER_NAME = re.compile(r"_[A-Z0-9_]+")
# $$ is one dollar; a name is as long as it goes.
REFERENCE = re.compile(r"\$(?:(\$)|([A-Z_][A-Z0-9_]*)|\{([^{}]*)\}|\(((?:[^()]|\([^()]*\))*)\))")
NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
# A field of the event's body: .name, ["name"] or [index].
STEP = re.compile(r"\.([\w-]+)|\[['\"]([^'\"]+)['\"]\]|\[(\d+)\]")


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its names replaced; a name without a value stands for nothing.

    Raises CloudError: 501 for bash's string operations.
    """
    return REFERENCE.sub(lambda found: _value(found, values, None), text)


def resolve(written: Mapping[str, str], defaults: Mapping[str, str], event: Event) -> dict[str, str]:
    """Return substitutions whose texts may name others, and fields of the event: $(body.message.attributes.model).

    Raises CloudError: 400 for a field that the event does not have, or names that need each other; 501 for bash's
    string operations.
    """
    resolved = dict(defaults)
    waiting = dict(written)
    payload = _payload(event)
    while waiting:
        ready = [name for name, text in waiting.items() if not _names(text) & waiting.keys()]
        if not ready:
            raise invalid(f"Substitutions need each other: {', '.join(sorted(waiting))}.")
        for name in ready:
            resolved[name] = REFERENCE.sub(lambda found: _value(found, resolved, payload), waiting.pop(name))
    return resolved


def of_event(event: Event, repository: str, ref: str, commit: str) -> dict[str, str]:
    """Return the values that a trigger gives a build for what it builds; what is not known has no name."""
    found = {"REPO_NAME": repository.rpartition("/")[2]} if repository else {}
    if commit:
        found |= {"COMMIT_SHA": commit, "REVISION_ID": commit, "SHORT_SHA": commit[:7]}
    if isinstance(event, PullRequest):
        numbers = {"_PR_NUMBER": str(event.number), "_HEAD_REPO_URL": event.head_url}
        heads = {"_HEAD_BRANCH": event.head, "_BASE_BRANCH": event.base}
        return {**found, "BRANCH_NAME": event.head, "REF_NAME": event.head, **heads, **numbers}
    for prefix, name in ((BRANCH, "BRANCH_NAME"), (TAG, "TAG_NAME")):
        if ref.startswith(prefix):
            found |= {name: ref.removeprefix(prefix), "REF_NAME": ref.removeprefix(prefix)}
    return found


def _names(text: str) -> set[str]:
    return {name for found in REFERENCE.finditer(text) if (name := found[2] or found[3])}


def _value(found: re.Match[str], values: Mapping[str, str], payload: Json | None) -> str:
    dollar, bare, braced, binding = found.groups()
    if dollar:
        return "$"
    if binding is not None:
        return found[0] if payload is None else _bound(binding, payload)
    name = bare or braced
    if not NAME.fullmatch(name):
        raise unimplemented(f"bash's string operations in substitutions, here {found[0]}")
    return values.get(name, "")


def _payload(event: Event) -> Json:
    """Return what a trigger's bindings begin with; what a repository's host sends with an event is not known here."""
    if isinstance(event, Message):
        message = dict(event.message)
        if "data" in message:
            message["data"] = _data(message["data"])
        return {"body": {"message": message}}
    return {}


def _data(text: str) -> Any:
    """Return a message's data: what its JSON says, else its text."""
    try:
        decoded = base64.b64decode(text).decode()
        return json.loads(decoded)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return text


def _bound(path: str, payload: Json) -> str:
    root, rest = re.match(r"(\w*)(.*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    if not payload:
        raise unimplemented(f"payload bindings of this event, here $({path})")
    value: Any = payload.get(root)
    while rest and value is not None:
        step = STEP.match(rest)
        if step is None:
            raise unimplemented(f"this JSONPath in a payload binding: $({path})")
        value = _below(value, step[1] or step[2] or int(step[3]))
        rest = rest[step.end() :]
    if value is None:
        raise invalid(f"The event has no {path}, which a substitution names.")
    return value if isinstance(value, str) else json.dumps(value)


def _below(value: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return value[step] if isinstance(value, list) and step < len(value) else None
    return value.get(step) if isinstance(value, dict) else None
