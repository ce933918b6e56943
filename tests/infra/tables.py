"""The tables of docs/infrastructure.md, made from the Terraform itself: python -m tests.infra.tables writes them."""

from __future__ import annotations

from tests.infra.code import INFRA, model_attributes, named, unquoted
from tests.server import ROOT

PAGE = ROOT / "docs" / "infrastructure.md"


def tables() -> dict[str, str]:
    """Return each table by the name that stands in its markers."""
    return {"variables": _variables(), "models": _models(), "outputs": _outputs()}


def filled(page: str) -> str:
    """Return a page with every table between its markers renewed."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}: made by make format -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}{table}{end}{after}"
    return page


def _variables() -> str:
    rows = [
        f"| `{name}` | {_default(body)} | {_cell(unquoted(body['description']))} |"
        for name, body in named(INFRA, "variable").items()
    ]
    return _table("| variable | default | meaning |", rows)


def _models() -> str:
    rows = [
        f"| `{name}` | {f'`{default}`' if default else 'none'} | {_cell(comment)} |"
        for name, _, default, comment in model_attributes()
    ]
    return _table("| attribute | default | meaning |", rows)


def _outputs() -> str:
    rows = [f"| `{name}` | {_cell(unquoted(body['description']))} |" for name, body in named(INFRA, "output").items()]
    return _table("| output | what it is |", rows)


def _default(body: dict[str, object]) -> str:
    if "default" not in body:
        return "must be given"
    value = body["default"]
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "none" if value in (None, "null", []) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace('\\"', '"')


def _table(head: str, rows: list[str]) -> str:
    rule = "|" + " --- |" * (head.count("|") - 1)
    return "\n".join([head, rule, *rows]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
