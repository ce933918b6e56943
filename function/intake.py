"""What is let in: how many requests and body bytes are under way at once, and how a body is read within its limits."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from function.call import Headers
from function.coding import coding_of, inflate
from function.errors import BodyTimeout, BodyTooLarge, InvalidBody, Overloaded
from function.settings import Settings

MIB = 1024 * 1024
RETRY_AFTER_SECONDS = 1
DECISIVE = (b"content-type", b"content-encoding", b"inference-header-content-length")
MAX_DIGITS = 18  # of a length in bytes


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
        """Return the admission of a request, a context; raises Overloaded, BodyTooLarge or UnsupportedMediaType."""
        if self.requests >= self._max_in_flight:
            raise Overloaded(
                f"{self.requests} requests are under way already.", retry_after_seconds=RETRY_AFTER_SECONDS
            )
        # Python reads no numbers of thousands of digits, which HTTP allows where they are zeros.
        self.check_length(int(headers.get(b"content-length", b"").lstrip(b"0")[:MAX_DIGITS] or 0))
        return Admission(self, coding_of(headers), offers_upgrade=b"upgrade" in headers)

    def check_length(self, length: int) -> None:
        """Raise BodyTooLarge for a body of more bytes than one may have."""
        if length > self._max_body_mb * MIB:
            raise BodyTooLarge(f"A body holds at most {self._max_body_mb:g} MiB; send fewer instances at once.")

    def hold(self, more: int) -> None:
        """Count further bytes as under way; raises Overloaded."""
        if self.bytes + more > self._max_bytes:
            raise Overloaded("Too many bytes are under way already.", retry_after_seconds=RETRY_AFTER_SECONDS)
        self.bytes += more


def read_headers(pairs: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return headers by name (starlette's would search and decode at each look); raises InvalidBody.

    What decides how a body is read must not be said twice, for nobody knows which of them a proxy went by.
    """
    headers = dict(pairs)
    if len(headers) != len(pairs):
        names = [name for name, _ in pairs]
        for name in DECISIVE:
            if names.count(name) > 1:
                raise InvalidBody(f"The header {name.decode()} is given more than once.")
    return headers


class Admission:
    """One request under way, until its block ends."""

    def __init__(self, intake: Intake, coding: str | None, *, offers_upgrade: bool) -> None:
        self._intake = intake
        self._coding = coding
        self._offers_upgrade = offers_upgrade
        self._held = 0
        self._kept = False

    def __enter__(self) -> "Admission":
        """Take a place."""
        self._intake.requests += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Give place and bytes back, unless they are kept for an answer that goes on."""
        if not self._kept:
            self.release()

    def keep(self) -> None:
        """Keep place and bytes until they are released."""
        self._kept = True

    def release(self) -> None:
        """Give place and bytes back."""
        self._intake.requests -= 1
        self._intake.bytes -= self._held

    async def read(self, request: Request) -> bytes:
        """Return the body, decoded; raises BodyTooLarge, Overloaded, BodyTimeout, MalformedBody or InvalidBody."""
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
        if self._coding is not None:
            body = await asyncio.to_thread(inflate, body, self._coding, self._intake.check_length)
            self._hold(len(body))
        return body

    def _hold(self, more: int) -> None:
        self._intake.hold(more)
        self._held += more

    async def _read(self, request: Request) -> bytes:
        chunks = []
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise InvalidBody("The body broke off before its end.")
            chunk = message.get("body", b"")
            self._intake.check_length(self._held + len(chunk))
            self._hold(len(chunk))
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
