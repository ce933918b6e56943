"""What was asked of the double, in the order of arrival, so that tests can assert it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Entry:
    """One request; `status` stays None while it is open, and for good where the connection was reset instead."""

    verb: str
    path: str
    query: dict[str, str]
    method: str | None
    headers: dict[str, str]
    body_bytes: int
    principal: str | None = None
    status: int | None = None
    fault: str | None = None


@dataclass
class Journal:
    """The requests since the start or the last clear."""

    _entries: list[Entry] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, entry: Entry) -> None:
        """Write down a request."""
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget every request."""
        with self._changed:
            self._entries.clear()

    def of(self, method: str) -> list[Entry]:
        """Return the requests for one method by its discovery id, for example `storage.objects.get`."""
        return [entry for entry in self if entry.method == method]

    def wait_for(self, method: str, times: int = 1, timeout_seconds: float = 10) -> list[Entry]:
        """Wait until a method was asked for so many times, answered or not; raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.of(method)) >= times, timeout_seconds):
                raise TimeoutError(f"{method} was asked for {len(self.of(method))} times, not {times}")
        return self.of(method)

    def as_json(self) -> list[dict[str, Any]]:
        """Return every request as JSON, without the tokens that it bore."""
        return [_as_json(entry) for entry in self]

    def __iter__(self) -> Iterator[Entry]:
        with self._changed:
            return iter(list(self._entries))

    def __len__(self) -> int:
        with self._changed:
            return len(self._entries)


def _as_json(entry: Entry) -> dict[str, Any]:
    headers = {name: value for name, value in entry.headers.items() if name.lower() != "authorization"}
    return {**asdict(entry), "headers": headers, "principal": entry.principal or "the owner"}
