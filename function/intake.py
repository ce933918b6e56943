"""What is let in: how many requests and body bytes are under way at once, and how a body is read within its limits."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from function.errors import BodyTimeout, BodyTooLarge, InvalidBody, Overloaded, UnsupportedMediaType
from function.settings import Settings

JSON = "application/json"
MIB = 1024 * 1024
RETRY_AFTER_SECONDS = 1
Headers = Mapping[bytes, bytes]  # as in an ASGI scope: names in lower case


class Intake:
    """Counts what is under way; refuses instead of queueing without end."""

    def __init__(self, settings: Settings) -> None:
        self._max_in_flight = settings.max_in_flight
        self._max_body_mb = settings.max_body_mb
        self._max_bytes = int(max(settings.max_in_flight_mb, settings.max_body_mb) * MIB)
        self.deadlines = Deadlines(settings.body_timeout_seconds)
        self.requests = 0
        self.bytes = 0

    @property
    def alone(self) -> bool:
        """Whether the request under way is the only one."""
        return self.requests == 1

    def admit(self, headers: Headers) -> "Admission":
        """Return the admission of a request, a context; raises Overloaded, UnsupportedMediaType or BodyTooLarge."""
        if self.requests >= self._max_in_flight:
            raise Overloaded(f"{self.requests} requests are under way already.", RETRY_AFTER_SECONDS)
        _check_media(headers)
        self.check_length(int(headers.get(b"content-length", 0)))
        return Admission(self, offers_upgrade=b"upgrade" in headers)

    def check_length(self, length: int) -> None:
        """Raise BodyTooLarge for a body of more bytes than one may have."""
        if length > self._max_body_mb * MIB:
            raise BodyTooLarge(f"A body holds at most {self._max_body_mb:g} MiB; send fewer instances at once.")

    def hold(self, more: int) -> None:
        """Count further bytes as under way; raises Overloaded."""
        if self.bytes + more > self._max_bytes:
            raise Overloaded("Too many bytes are under way already.", RETRY_AFTER_SECONDS)
        self.bytes += more


class Admission:
    """One request under way, until its block ends."""

    def __init__(self, intake: Intake, *, offers_upgrade: bool) -> None:
        self._intake = intake
        self._offers_upgrade = offers_upgrade
        self._held = 0

    def __enter__(self) -> "Admission":
        """Take a place."""
        self._intake.requests += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Give place and bytes back."""
        self._intake.requests -= 1
        self._intake.bytes -= self._held

    async def read(self, request: Request) -> bytes:
        """Return the body; raises BodyTooLarge, Overloaded, BodyTimeout, or InvalidBody for one that breaks off."""
        deadlines = self._intake.deadlines
        task = deadlines.begin()
        try:
            body = await self._read(request)
        except asyncio.CancelledError:
            if deadlines.passed(task):
                raise BodyTimeout(f"The body did not arrive within {deadlines.seconds:g} seconds.") from None
            raise
        finally:
            deadlines.end(task)
        if not body and self._offers_upgrade:  # uvicorn ends the request where another protocol would begin
            raise InvalidBody("The body got lost in the offer of another protocol; send it without the header Upgrade.")
        return body

    async def _read(self, request: Request) -> bytes:
        chunks = []
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise InvalidBody("The body broke off before its end.")
            chunk = message.get("body", b"")
            self._intake.check_length(self._held + len(chunk))
            self._intake.hold(len(chunk))
            self._held += len(chunk)
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


class Deadlines:
    """Cancels tasks that take longer than some seconds.

    All share one timer: `asyncio.timeout` makes one for each task, which costs more than a request's validation.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends: dict[asyncio.Task[Any], float] = {}  # in the order of their ends
        self._cancelled: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Task[Any]:
        """Set the running task its deadline; return the task."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101  # a coroutine runs in a task
        self._ends[task] = end = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(end, self._look)
        return task

    def end(self, task: asyncio.Task[Any]) -> None:
        """Forget a task."""
        del self._ends[task]
        self._cancelled.discard(task)

    def passed(self, task: asyncio.Task[Any]) -> bool:
        """Tell, where a task was cancelled, whether it was for its deadline alone."""
        return task in self._cancelled and task.uncancel() == 0

    def _look(self) -> None:
        """Cancel who is late, and look again when the next one may be."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for task, end in self._ends.items():
            if end > loop.time():
                self._timer = loop.call_at(end, self._look)
                break
            if task not in self._cancelled:
                self._cancelled.add(task)
                task.cancel()


def _check_media(headers: Headers) -> None:
    """Refuse what is not plain JSON; without a content type a body is taken for JSON."""
    if headers.get(b"content-encoding", b"").lower() not in (b"", b"identity"):
        raise UnsupportedMediaType("Send the body uncompressed: no content encoding is read here.")
    kind = headers.get(b"content-type", b"")
    if kind != b"application/json" and not _is_json(kind.decode("latin-1").lower()):
        raise UnsupportedMediaType(f"Send the body with content-type: {JSON}, in UTF-8.")


def _is_json(kind: str) -> bool:
    media, *parameters = kind.split(";")
    return media.strip() in ("", JSON) and all(map(_is_utf8, parameters))


def _is_utf8(parameter: str) -> bool:
    """Tell whether a parameter of the content type is none of a charset, or one that UTF-8 covers."""
    name, _, value = parameter.partition("=")
    return name.strip() != "charset" or value.strip('" ') in ("utf-8", "utf8", "us-ascii")
