"""What verbs share on the command line: models, stores, environments."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
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


class Length(click.FloatRange):
    """A length of time within bounds; "nan", which is in no order with them, is none."""

    def __init__(self, least: float, most: float) -> None:
        super().__init__(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return it as a number; fail with what was expected."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"a number between {self.min:g} and {self.max:g} is expected, found {value!r}", param, ctx)
        return number


class Moment(click.ParamType[datetime]):
    """A moment that has been, given as ISO 8601 writes it; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment; fail with what was expected."""
        try:
            given = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            self.fail(f"a time such as 2026-11-07T12:00 or 2026-11-07T13:00:30+01:00 is expected, found {value!r}")
        try:
            moment = (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
        except OverflowError:  # in the first or the last year that there is, by another zone
            self.fail(f"a time between the years 2 and 9998 is expected, found {value!r}")
        if moment > datetime.now(UTC):
            self.fail(f"a time that has been is expected, found {value!r}: nobody knows who will answer")
        return moment


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
