"""Faults on demand: which requests go wrong, how often, and what then goes over the wire."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tests.cloud.messages import Response

Kind = Literal["status", "reset", "reset_after_commit", "truncate", "corrupt", "stall", "drip", "delay"]


class Fault(BaseModel):
    """One rule; a request must fit every given selector, and the first rule that fits is the one that acts.

    status: answered with `status`, nothing carried out. reset: TCP RST, nothing carried out.
    reset_after_commit: carried out, then TCP RST instead of the answer. truncate: the body ends after `after_bytes`.
    corrupt: one byte of the body is flipped at `after_bytes`, headers stay true. stall: carried out; the answer stops
    after `after_bytes` of its body (None: before its headers) for `seconds` (None: until the double stops).
    drip: the body comes one byte every `seconds`. delay: carried out and answered only after `seconds`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    verb: str | None = None
    path: re.Pattern[str] | None = Field(
        default=None, description="regular expression searched in the raw path and query"
    )
    method: str | None = Field(default=None, description="discovery id, for example storage.objects.get")
    media: bool | None = Field(default=None, description="only requests for content, or only those for resources")
    skip: int = Field(default=0, ge=0, description="fitting requests to let pass first")
    times: int | None = Field(default=1, ge=1, description="None: for ever")
    status: int = Field(default=503, ge=400, le=599)
    after_bytes: int | None = Field(default=None, ge=0, description="None: half of the body")
    seconds: float | None = Field(default=None, ge=0)

    def fits(self, verb: str, target: str, method: str | None) -> bool:
        """Tell whether a request is one of those meant."""
        return (
            self.verb in (None, verb)
            and self.method in (None, method)
            and self.media in (None, "alt=media" in target)
            and (self.path is None or self.path.search(target) is not None)
        )

    @property
    def prevents(self) -> bool:
        """Whether the request is not carried out."""
        return self.kind in ("status", "reset")


@dataclass(frozen=True)
class Pause:
    """Wait before what follows; None waits until the double stops."""

    seconds: float | None


class Ending(Enum):
    """How a connection ends early."""

    CLOSE = "FIN, as a server does that thinks it is done"
    RESET = "RST, as a network does that lost its state"


Step = bytes | Pause | Ending


@dataclass
class _Rule:
    fault: Fault
    to_skip: int
    left: int | None

    def take(self) -> bool:
        if self.to_skip:
            self.to_skip -= 1
            return False
        if self.left is None:
            return True
        if not self.left:
            return False
        self.left -= 1
        return True


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def add(self, kind: Kind, **selectors: Any) -> Fault:
        """Put a rule in force; the names are those of Fault."""
        return self.put(Fault(kind=kind, **selectors))

    def put(self, fault: Fault) -> Fault:
        """Put a rule in force."""
        with self._lock:
            self._rules.append(_Rule(fault, fault.skip, fault.times))
        return fault

    def clear(self) -> None:
        """Put every rule out of force."""
        with self._lock:
            self._rules.clear()

    def take(self, verb: str, target: str, method: str | None) -> Fault | None:
        """Return the fault that strikes a request, and count it."""
        with self._lock:
            fitting = (rule for rule in self._rules if rule.fault.fits(verb, target, method))
            return next((rule.fault for rule in fitting if rule.take()), None)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the rules that can still strike."""
        with self._lock:
            return [{**rule.fault.model_dump(mode="json"), "left": rule.left} for rule in self._rules if rule.left != 0]


def script(response: Response, fault: Fault | None) -> Iterator[Step]:
    """Yield what goes over the wire for an answer that a fault may strike."""
    kind = fault.kind if fault else None
    if fault is None or kind in ("status", "delay"):
        yield from _plain(response)
    elif kind in ("reset", "reset_after_commit"):
        yield Ending.RESET
    elif kind == "corrupt":
        yield from _plain(_corrupted(response, fault))
    else:
        yield from {"truncate": _truncated, "stall": _stalled, "drip": _dripping}[fault.kind](response, fault)


def _plain(response: Response) -> Iterator[Step]:
    yield response.head
    yield response.body


def _corrupted(response: Response, fault: Fault) -> Response:
    body = bytearray(response.body)
    if body:
        body[min(_position(response, fault), len(body) - 1)] ^= 0xFF
    return replace(response, body=bytes(body))


def _truncated(response: Response, fault: Fault) -> Iterator[Step]:
    yield response.head
    yield response.body[: _position(response, fault)]
    yield Ending.CLOSE


def _stalled(response: Response, fault: Fault) -> Iterator[Step]:
    if fault.after_bytes is not None:
        yield response.head
        yield response.body[: fault.after_bytes]
    yield Pause(fault.seconds)
    if fault.after_bytes is None:
        yield response.head
    yield response.body[fault.after_bytes or 0 :]


def _dripping(response: Response, fault: Fault) -> Iterator[Step]:
    yield response.head
    for index in range(len(response.body)):
        yield Pause(fault.seconds)
        yield response.body[index : index + 1]


def _position(response: Response, fault: Fault) -> int:
    return len(response.body) // 2 if fault.after_bytes is None else fault.after_bytes
