"""The Terraform of infra/ as parsed text: variables, outputs and resources by name; nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import hcl2

from tests.server import ROOT

INFRA = ROOT / "infra"
ENDPOINT = INFRA / "endpoint"
# One attribute of an object type, as hcl2 writes it back: name = optional(type, default).
ATTRIBUTE = re.compile(r"(\w+) = (?:optional\((.+?)(?:, ([^()]*|\[\]|\{\}))?\)|(.+?))$")


class Attribute(NamedTuple):
    """An attribute of an object variable; `default` is HCL, None where there is none."""

    name: str
    kind: str
    default: str | None
    comment: str


@cache
def blocks(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return every block of a kind in a folder's files, in their order, as hcl2 gives them."""
    files = sorted(folder.glob("*.tf"))
    return [block for path in files for block in hcl2.loads(path.read_text(encoding="utf-8")).get(kind, [])]


def named(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return the blocks of a kind by their one label: variables, outputs, modules."""
    return {unquoted(label): body for block in blocks(folder, kind) for label, body in _labelled(block)}


def resources(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the resources of a folder by type and name."""
    return {
        (unquoted(kind), unquoted(name)): body
        for block in blocks(folder, "resource")
        for kind, below in _labelled(block)
        for name, body in _labelled(below)
    }


def unquoted(text: str) -> str:
    """Return a string without the quotes that hcl2 leaves around it."""
    return text[1:-1] if text[:1] == '"' == text[-1:] else text


def model_attributes() -> list[Attribute]:
    """Return what a model of var.models takes; above each attribute stands a comment."""
    text = (INFRA / "variables.tf").read_text(encoding="utf-8")
    body = text.split('variable "models"')[1].split("map(object({")[1].split("\n  }))")[0]
    lines = [line.strip() for line in body.strip().splitlines()]
    return [_attribute(declared, comment) for comment, declared in zip(lines[::2], lines[1::2], strict=True)]


def environment_names() -> set[str]:
    """Return the variables that Terraform sets in the service's environment."""
    text = (ENDPOINT / "service.tf").read_text(encoding="utf-8")
    written = re.findall(r'env" \{.*?name +=? *"([A-Z_]+)"', text, re.S)
    return set(re.findall(r"^ +([A-Z_]+) +=", text, re.M)) | set(written)


def view_query(table: str, service: str, model: str) -> str:
    """Return the query of a model's view of its predictions, as Terraform fills it in."""
    text = (INFRA / "predictions.sql").read_text(encoding="utf-8")
    for name, value in {"table": table, "service": service, "model": model}.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def _labelled(block: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((label, body) for label, body in block.items() if not label.startswith("__"))


def _attribute(declared: str, comment: str) -> Attribute:
    found = ATTRIBUTE.match(re.sub(r"\s+", " ", declared))
    assert found and comment.startswith("# "), (
        f"variables.tf: a comment, then name = optional(type, default): {declared}"
    )
    name, optional_kind, default, kind = found.groups()
    return Attribute(name, optional_kind or kind, default, comment.removeprefix("# "))
