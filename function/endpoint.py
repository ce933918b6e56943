"""From an HTTP request to its answer: what runs in the loop and what in a thread, errors, and a record each."""

import asyncio
import functools
import importlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from function.call import Answered, Headers, Incoming, Reply, Served
from function.coding import compressed
from function.contract import Manifest
from function.dialects import load_dialect
from function.errors import PilotlightError, PredictionFailed, RequestError, UnknownModel
from function.intake import Admission, Intake, read_headers
from function.model import LoadFailed, Model, Timings, WarmModel, describe, load_model
from function.prediction import Exchange, Prepared, predict, predict_lines, prepare, since
from function.record import Facts, LineWriter, Recorder, trace_fields
from function.routes import COLUMNAR, LINES, Route, Table, Takes
from function.settings import Settings
from function.store import open_store

if TYPE_CHECKING:
    from function.dialects.ndjson import Line

# Above these, work goes to a thread so that the loop keeps answering others; below, the way there costs more than it.
LOOP_MS = 1.0
LOOP_BYTES = 32 * 1024
# A request that nobody else waits behind may take this long in the loop: a thread would cost it a tenth of a
# millisecond and help no one. Whoever comes meanwhile waits at most this long, and then finds threads in use.
ALONE_MS = 25.0
FLUSH_SECONDS = 0.05  # how soon a record is tried again that stdout's reader was too slow for

T = TypeVar("T")


class Endpoint:
    """One model at one URL; routes.py has its paths."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._intake = Intake(settings)
        self._warm = WarmModel(self._load, settings.load_timeout_seconds)
        self._lines = LineWriter(1)
        self._recorder = Recorder(self._lines, settings)
        self._flush_later: asyncio.TimerHandle | None = None
        self._known: Served | None = None  # once the model is loaded
        self._table = Table(predict_path=settings.aip_predict_route, health_path=settings.aip_health_route)
        self._kinds = {"predict": self._predict, "feedback": self._feedback, "read": self._read}

    async def answer(self, request: Request) -> Response:
        """Answer any request, errors included."""
        facts = Facts(os.urandom(16).hex(), time.perf_counter(), request.scope["headers"])
        route = None
        try:
            route, places = self._table.find(request.method, request.scope["path"])
            facts.dialect = route.dialect
            return await self._kinds[route.kind](request, route, places, facts)
        except Exception as error:
            if route is None:
                facts.dialect = self._table.dialect(request.scope["path"])
            return self._refuse(error, route, facts)

    def _refuse(self, error: Exception, route: Route | None, facts: Facts) -> Response:
        """Answer and record an error; one that is not ours by name is a defect, and callers see nothing of it."""
        facts.total_ms = since(facts.started)
        known = error if isinstance(error, PilotlightError) else PilotlightError("The fault is ours, and was recorded.")
        if not isinstance(known, RequestError):
            self._recorder.failed(facts, self._manifest, known, describe(error))
        elif route is not None and route.kind == "predict":
            self._recorder.refused(facts, self._manifest, known)
        self._flush()
        reply = load_dialect(facts.dialect).refuse(known)
        return _response(reply._replace(headers={**reply.headers, **known.headers}), facts)

    async def _read(self, request: Request, route: Route, places: Mapping[str, str], facts: Facts) -> Response:
        served = None
        if not route.unloaded:
            served = self._served(await self._warm.get(), places)
        incoming = Incoming(dict(request.scope["headers"]), b"", places, self._table.routes)
        reply: Reply = await _run(route.slow, _call, route.reads, incoming, served)
        return _response(reply, facts)

    async def _predict(self, request: Request, route: Route, places: Mapping[str, str], facts: Facts) -> Response:
        headers = read_headers(request.scope["headers"])
        with self._intake.admit(headers) as admission:
            spoken = route.takes.by_media(headers)
            body = await admission.read(request)
            self._note(headers, body, facts)
            model = await self._warm.get()
            served = self._served(model, places)
            incoming = Incoming(headers, body, places, self._table.routes)
            exchange = Exchange(route, model, served, incoming, facts)
            if spoken == LINES:
                return await self._stream(exchange, admission)
            large = len(body) > LOOP_BYTES or spoken in COLUMNAR
            # Not by _run: what is small, is worth no coroutine.
            prepared = await asyncio.to_thread(prepare, exchange, spoken) if large else prepare(exchange, spoken)
            large = large or model.cost_ms(facts.instances) > (ALONE_MS if self._intake.alone else LOOP_MS)
            answer = self._answer
            reply = await asyncio.to_thread(answer, exchange, prepared) if large else answer(exchange, prepared)
        self._flush()
        return _response(reply, facts)

    def _answer(self, exchange: Exchange, prepared: Prepared) -> Reply:
        answered, reply = predict(exchange, prepared)
        self._record(exchange, answered)
        return compressed(reply, exchange.incoming.headers, exchange.route.smallest_compressed)

    async def _stream(self, exchange: Exchange, admission: Admission) -> Response:
        """Answer line by line; what is wrong with the whole body is told before the first of them."""
        from function.dialects import ndjson

        exchange.facts.dialect = LINES
        large = len(exchange.incoming.body) > LOOP_BYTES
        chunks = await _run(large, ndjson.chunks, exchange.incoming, exchange.served)
        admission.keep()
        headers = {"content-type": ndjson.media_type(exchange.incoming), "x-request-id": exchange.facts.request_id}
        return Streamed(admission, self._lines_of(exchange, chunks), self._settings.body_timeout_seconds, headers)

    async def _lines_of(self, exchange: Exchange, chunks: "Sequence[Sequence[Line]]") -> AsyncGenerator[bytes]:
        """Yield each chunk's answers as soon as they are known; record them at the end, as far as it came."""
        from function.dialects import ndjson

        parts: list[Answered] = []
        try:
            for lines in chunks:
                large = len(chunks) > 1 or exchange.model.cost_ms(len(lines)) > LOOP_MS
                try:
                    part = await _run(large, predict_lines, exchange, lines)
                except PredictionFailed as error:
                    self._recorder.failed(exchange.facts, self._manifest, error, describe(error))
                    yield ndjson.refuse_all(lines, error)
                else:
                    parts.append(part.answered)
                    yield ndjson.render(part)
        finally:
            if parts:
                self._record(exchange, ndjson.joined(parts, exchange.facts.request_id))
            self._flush()

    def _record(self, exchange: Exchange, answered: Answered) -> None:
        exchange.facts.total_ms = since(exchange.facts.started)
        self._recorder.answered(exchange.facts, exchange.served.manifest, answered)

    async def _feedback(self, request: Request, _: Route, __: Mapping[str, str], facts: Facts) -> Response:
        from function.feedback import read_outcomes, receipt

        headers = read_headers(request.scope["headers"])
        with self._intake.admit(headers) as admission:
            Takes().by_media(headers)
            body = await admission.read(request)
            self._note(headers, body, facts)
            served = self._served(await self._warm.get(), {})
            outcomes = await _run(len(body) > LOOP_BYTES, read_outcomes, body, served)
            self._recorder.told(facts, served.manifest, outcomes)
        self._flush()
        return _response(receipt(outcomes, served), facts)

    def _note(self, headers: Headers, body: bytes, facts: Facts) -> None:
        facts.trace = trace_fields(headers, self._settings.google_cloud_project)
        facts.body_bytes = len(body)
        facts.read_ms = since(facts.started)

    def _served(self, model: Model, places: Mapping[str, str]) -> Served:
        """Return what dialects may know; raises UnknownModel where a path names another model or version."""
        if places:
            name, version = model.manifest.model, str(model.manifest.version)
            if places.get("model", name) != name or places.get("version", version) != version:
                raise UnknownModel(f"Version {version} of the model {name} is the only one that is served here.")
        if self._known is None:
            self._known = Served(model.manifest, self._settings.max_instances, self._recorder.totals, model.read)
        return self._known

    @property
    def _manifest(self) -> Manifest | None:
        return self._warm.loaded.manifest if self._warm.loaded else None

    def _load(self) -> Model:
        timings = Timings()
        settings = self._settings
        try:
            url = settings.aip_storage_uri or settings.model_store
            store = functools.partial(open_store, url, settings.store_timeout_seconds)
            where = {"folder": ""} if settings.aip_storage_uri else {}  # Vertex AI copies one version's folder
            model = load_model(settings.pin_file, store, timings, **where)
        except LoadFailed as error:
            self._recorder.load_failed(str(error), timings.source, timings.parts, describe(error))
            raise
        self._recorder.loaded(model.manifest, timings.source, timings.parts)
        return model

    def _flush(self) -> None:
        """Write what is left of records; one timer at a time tries again."""
        if not self._lines.flush() and self._flush_later is None:
            self._flush_later = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_again)

    def _flush_again(self) -> None:
        self._flush_later = None
        self._flush()


class Streamed(StreamingResponse):
    """An answer that goes on after its head; its request stays under way until it ends, however it ends."""

    def __init__(
        self, admission: Admission, pieces: AsyncGenerator[bytes], seconds: float, headers: Mapping[str, str]
    ) -> None:
        super().__init__(pieces, headers=headers)
        self._admission = admission
        self._pieces = pieces
        self._seconds = seconds  # that a caller may take to read a piece

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and pieces; break off where the caller does not read them."""

        async def hurried(message: Message) -> None:
            await asyncio.wait_for(send(message), self._seconds)

        try:
            await super().__call__(scope, receive, hurried)
        except (TimeoutError, ClientDisconnect):
            pass  # the server closes the connection, for the answer has no end
        finally:
            await self._pieces.aclose()
            self._admission.release()


async def _run(in_thread: bool, work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.to_thread(work, *arguments) if in_thread else work(*arguments)


def _call(reads: str, *arguments: object) -> Any:
    """Call what a route reads: it is imported when it is first asked for."""
    module, _, name = reads.partition(":")
    return getattr(importlib.import_module(f"function.{module}"), name)(*arguments)


def _response(reply: Reply, facts: Facts) -> Response:
    response = Response(reply.content, reply.status)
    # Not starlette's media_type, which adds a charset: clients compare with the bare name.
    response.raw_headers.append((b"content-type", reply.media_type.encode()))
    response.raw_headers.append((b"x-request-id", facts.request_id.encode()))
    if reply.headers:
        response.raw_headers += [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    return response
