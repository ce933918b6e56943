"""What verbs share on the command line: models, stores, environments."""

import getpass
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from function.store import Store, open_store
from lifecycle.versions import check_name

DEFAULT_STORE = Path(__file__).resolve().parent.parent / "build" / "store"

Verb = Callable[..., Any]


class StoreUrl(click.ParamType[Store]):
    """A store, given by its URL."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Store:
        """Return the store; fail with what was expected."""
        try:
            return open_store(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ModelName(click.ParamType[str]):
    """A model's name: it becomes a folder of the store, and must not lead out of it."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; raises RecipeInvalid for one that no model has."""
        return check_name(value)


def as_json(command: Verb) -> Verb:
    """Add the option --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines")(command)


def in_store(command: Verb) -> Verb:
    """Add the options of verbs that work on a store: --store and --json."""
    store = click.option(
        "--store",
        type=StoreUrl(),
        envvar="MODEL_STORE",
        default=DEFAULT_STORE.as_uri(),
        show_envvar=True,
        help="gs://bucket/prefix or file:///folder",
    )
    return store(as_json(command))


def in_environment(command: Verb) -> Verb:
    """Add the option of verbs that work on a place that Terraform made: --environment."""
    option = click.option(
        "--environment",
        envvar="ENVIRONMENT",
        default="dev",
        show_default=True,
        show_envvar=True,
        help="infra/NAME.tfvars",
    )
    return option(command)


def whoever() -> str:
    """Return who is at work here, for people who read it later: a build, or somebody on a machine."""
    if build := os.environ.get("BUILD_ID"):
        return f"build {build}"
    try:
        return f"{getpass.getuser()} on {socket.gethostname()}"
    except (KeyError, OSError):  # a user without a name
        return socket.gethostname()
