"""What is let in: how many requests and body bytes are under way at once, and how a body is read within its limits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from function.errors import BodyTimeout, BodyTooLarge, InvalidBody, Overloaded, UnsupportedMediaType
from function.settings import Settings

JSON = "application/json"
MIB = 1024 * 1024
RETRY_AFTER_SECONDS = 1


class Intake:
    """Counts what is under way; refuses instead of queueing without end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._max_body_bytes = int(settings.max_body_mb * MIB)
        self._max_bytes = int(max(settings.max_in_flight_mb, settings.max_body_mb) * MIB)
        self._requests = 0
        self._bytes = 0

    @property
    def alone(self) -> bool:
        """Whether the request under way is the only one."""
        return self._requests == 1

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Yield a request's body and count it as under way until the block ends.

        Raises Overloaded, UnsupportedMediaType, BodyTooLarge, BodyTimeout, or InvalidBody for a body that breaks off.
        """
        if self._requests >= self._settings.max_in_flight:
            raise Overloaded(f"{self._requests} requests are under way already.", RETRY_AFTER_SECONDS)
        _check_media(request)
        self._check_length(int(request.headers.get("content-length", 0)))
        held = 0
        self._requests += 1
        try:
            chunks = []
            async with _arrival(self._settings.body_timeout_seconds):
                more = True
                while more:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise InvalidBody("The body broke off before its end.")
                    chunks.append(message.get("body", b""))
                    held = self._hold(held, len(chunks[-1]))
                    more = message.get("more_body", False)
            yield _whole(chunks, request)
        finally:
            self._requests -= 1
            self._bytes -= held

    def _hold(self, held: int, more: int) -> int:
        """Count further bytes of a body that holds some already; return how many it holds then."""
        self._check_length(held + more)
        if self._bytes + more > self._max_bytes:
            raise Overloaded("Too many bytes are under way already.", RETRY_AFTER_SECONDS)
        self._bytes += more
        return held + more

    def _check_length(self, length: int) -> None:
        if length > self._max_body_bytes:
            raise BodyTooLarge(
                f"A body holds at most {self._settings.max_body_mb:g} MiB; send fewer instances at once."
            )


@asynccontextmanager
async def _arrival(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {seconds:g} seconds.") from None


def _check_media(request: Request) -> None:
    """Refuse what is not plain JSON; without a content type a body is taken for JSON."""
    headers = request.headers
    if headers.get("content-encoding", "").lower() not in ("", "identity"):
        raise UnsupportedMediaType("Send the body uncompressed: no content encoding is read here.")
    media, *parameters = headers.get("content-type", JSON).lower().split(";")
    if media.strip() not in ("", JSON) or not all(map(_is_utf8, parameters)):
        raise UnsupportedMediaType(f"Send the body with content-type: {JSON}, in UTF-8.")


def _is_utf8(parameter: str) -> bool:
    """Tell whether a parameter of the content type is none of a charset, or one that UTF-8 covers."""
    name, _, value = parameter.partition("=")
    return name.strip() != "charset" or value.strip('" ') in ("utf-8", "utf8", "us-ascii")


def _whole(chunks: list[bytes], request: Request) -> bytes:
    body = b"".join(chunks)
    if not body and "upgrade" in request.headers:  # uvicorn ends the request where another protocol would begin
        raise InvalidBody("The body got lost in the offer of another protocol; send it without the header Upgrade.")
    return body
