"""What goes into an image: the code, the pin of one version, and that version's bytes where they are baked.

Nothing is built here. A build (make build) makes an image of each folder, and calls it by the reference beside it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from google.auth.credentials import Credentials

from function.store import Store
from lifecycle.environment import ROOT, Environment
from lifecycle.errors import Missing, NotReleasable
from lifecycle.pinning import bake, is_baked, pin_of, write_pin
from lifecycle.rollout.chosen import to_release
from lifecycle.rollout.images import CODE, NOT_CODE, find_image, tag_of
from lifecycle.versions import Version, list_numbers

APP, REFERENCE = "app", "reference"


class Prepared(NamedTuple):
    """A version's image: what it is called, and the folder to make it of, None where the registry has it."""

    model: str
    version: int
    reference: str
    folder: Path | None


def check_served(environment: Environment, models: Sequence[str]) -> None:
    """Raise Missing where the environment does not serve one of these models."""
    strangers = [model for model in models if model not in environment.models]
    if strangers:
        served = ", ".join(sorted(environment.models)) or "none"
        text = f"The environment {environment.name} does not serve {', '.join(strangers)}"
        raise Missing(f"{text}; its models (infra/{environment.name}.tfvars) are: {served}.")


def prepare(store: Store, environment: Environment, model: str, out: Path, credentials: Credentials) -> Prepared | None:
    """Write the folder of a model's image where that is still to be made, of the version that is to be released.

    Returns None for a model without any version.
    """
    folder = out / model
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier run left may be another version's
    if not list_numbers(store, model):
        return None
    version = to_release(store, model)
    number, tag = version.manifest.version, tag_of(version.manifest.version, pin_of(version))
    reference = f"{environment.images(model)}:{tag}"
    try:
        find_image(environment, model, tag, credentials)
    except NotReleasable:
        _write(store, version, folder, reference)
        return Prepared(model, number, reference, folder)
    return Prepared(model, number, reference, None)


def _write(store: Store, version: Version, folder: Path, reference: str) -> None:
    """Write an image's folder; the reference comes last, and makes it one that can be built."""
    app = folder / APP
    app.mkdir(parents=True)
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, app / name, ignore=shutil.ignore_patterns(*NOT_CODE))
        else:
            shutil.copy(source, app / name)
    if is_baked(version):
        bake(store, version, app / "function")
    write_pin(version, app / "function")
    (folder / REFERENCE).write_text(reference, encoding="utf-8")
