"""One file per request format: each parses a body into a Call, renders an Answered and refuses in its own shape."""

import functools
import importlib
from typing import TYPE_CHECKING, Protocol, cast

from function.call import Answered, Call, Incoming, Reply, Served
from function.errors import PilotlightError

if TYPE_CHECKING:
    from function.schemas import Description


class Dialect(Protocol):
    """What a module of this folder has."""

    def parse(self, incoming: Incoming, served: Served) -> Call:
        """Read a body; raises a RequestError for what is none of this dialect's forms."""

    def render(self, answered: Answered, served: Served) -> Reply:
        """Return the answer in this dialect."""

    def refuse(self, error: PilotlightError) -> Reply:
        """Return an error in this dialect."""

    def describe(self, served: Served) -> "Description":
        """Return what this dialect sends and gets, as schemas."""


@functools.cache
def load_dialect(name: str) -> Dialect:
    """Return a dialect; it is imported when it is first spoken, so that none costs cold start."""
    return cast(Dialect, importlib.import_module(f"function.dialects.{name}"))
