"""The lock files are what pyproject.toml asks for: nothing missing, nothing left over, one version of each package."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGE = PROJECT["project"]["dependencies"]
EVERYTHING = IMAGE + [line for group in PROJECT["dependency-groups"].values() for line in group]
PYTHONS = ("3.11", "3.12", "3.13")
ASKED = {"requirements.txt": IMAGE, "requirements-dev.txt": EVERYTHING}


def pinned(name: str) -> dict[str, Requirement]:
    """Return a lock file's pins by package; fails where a package has two."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line.split("--hash")[0] for line in text.splitlines() if line and not line.startswith(("#", " "))]
    requirements = [Requirement(line) for line in lines]
    names = [canonicalize_name(requirement.name) for requirement in requirements]
    assert len(set(names)) == len(names), "two versions of one package"
    return dict(zip(names, requirements, strict=True))


def needed(asked: list[str], python: str) -> set[str]:
    """Return every package that these requirements lead to on Linux with a Python, by what is installed here."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(line), "") for line in asked]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate(environment | {"extra": extra}):
            continue
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in found:
                found.add((name, wanted))
                waiting += [(Requirement(line), wanted) for line in _requires(name)]
    return {name for name, _ in found}


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        pytest.fail(f"{name} is needed but not locked: run `make lock`")


@pytest.mark.parametrize("name", ASKED)
def test_every_requirement_is_locked_within_its_bounds(name: str) -> None:
    """What pyproject.toml asks for is pinned to a version that it allows."""
    pins = pinned(name)
    for line in ASKED[name]:
        requirement = Requirement(line)
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"{name} is stale: {requirement.name} is not in it; run `make lock`"
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert requirement.specifier.contains(specifier.version), (
            f"{name} is stale: {line}, locked {pin}; run `make lock`"
        )


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", ASKED)
def test_the_lock_is_complete_and_holds_nothing_else(name: str, python: str) -> None:
    """A lock holds what its requirements lead to on each supported Python, and no package that none of them needs."""
    pins = pinned(name)
    needs = needed(ASKED[name], python)
    assert needs <= set(pins), f"{name} is stale, run `make lock`: lacks {sorted(needs - set(pins))}"
    unconditional = {package for package, pin in pins.items() if pin.marker is None}
    assert unconditional <= needs, f"{name} is stale, run `make lock`: {sorted(unconditional - needs)} are not needed"


def test_both_locks_agree() -> None:
    """What serves is what was tested: the image's packages have the same versions in both locks."""
    everything = pinned("requirements-dev.txt")
    assert {name: str(pin.specifier) for name, pin in pinned("requirements.txt").items()} == {
        name: str(everything[name].specifier) for name in pinned("requirements.txt")
    }


@pytest.mark.parametrize("name", ASKED)
def test_every_pin_is_hashed(name: str) -> None:
    """Pip refuses a package whose bytes are not those that were locked."""
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text[text.index("\n\n") + 1 :] if "\n\n" in text else text)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
