"""What Terraform says that it would change, as `make plan SAVE=FILE` keeps it: read, never made here."""

import re
from pathlib import Path
from typing import NamedTuple

# How a plan ends.
SUMMARY = re.compile(r"^(No changes\..*|Plan: .*|Changes to Outputs:)$", re.M)
DRIFT = "changed outside of Terraform"
# What it says of each resource while it looks.
LOOKING = re.compile(r": (Refreshing state\.\.\.|Reading\.\.\.|Still reading\.\.\.|Read complete after)")
UNSAID = "It ended without a result."


class Plan(NamedTuple):
    """A plan's last words, whether the cloud was changed behind Terraform's back, and the whole for people to read."""

    summary: str
    drift: bool
    text: str


def read_plan(file: Path) -> Plan | None:
    """Return a plan that was kept, None where nothing was planned."""
    if not file.is_file():
        return None
    said = file.read_text(encoding="utf-8")
    text = "\n".join(line for line in said.splitlines() if not LOOKING.search(line)).strip()
    return Plan(" ".join(SUMMARY.findall(said)) or UNSAID, DRIFT in said, text)
