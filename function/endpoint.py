"""From an HTTP request to its answer: what runs in the loop and what in a thread, errors, and a record each."""

import asyncio
import functools
import importlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from function.call import JSON, Answered, Call, Headers, Incoming, Reply, Served, chances, usual_methods
from function.coding import compressed
from function.contract import Method
from function.dialects import Dialect, load_dialect
from function.dialects.json_body import read_json
from function.engines import Outputs
from function.errors import PilotlightError, PredictionFailed, RequestError, UnknownModel
from function.intake import Admission, Intake
from function.model import LoadFailed, Model, Timings, WarmModel, describe, load_model
from function.record import Facts, LineWriter, Recorder, trace_fields
from function.routes import COLUMNAR, LINES, Route, Table, Takes
from function.settings import Settings
from function.store import open_store
from function.validation import Columns, Instances, Marks

if TYPE_CHECKING:
    from function.dialects.ndjson import Chunk, Part

# Above these, work goes to a thread so that the loop keeps answering others; below, the way there costs more than it.
LOOP_MS = 1.0
LOOP_BYTES = 32 * 1024
# A request that nobody else waits behind may take this long in the loop: a thread would cost it a tenth of a
# millisecond and help no one. Whoever comes meanwhile waits at most this long, and then finds threads in use.
ALONE_MS = 25.0
FLUSH_SECONDS = 0.05  # how soon a record is tried again that stdout's reader was too slow for

T = TypeVar("T")


class Prepared(NamedTuple):
    """A body that was read and found valid."""

    dialect: Dialect
    call: Call
    columns: Columns
    marks: Marks


class Endpoint:
    """One model at one URL; routes.py has its paths."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._intake = Intake(settings)
        self._warm = WarmModel(self._load, settings.load_timeout_seconds)
        self._lines = LineWriter(1)
        self._recorder = Recorder(self._lines, settings)
        self._flush_later: asyncio.TimerHandle | None = None
        self._table = Table(predict_path=settings.aip_predict_route, health_path=settings.aip_health_route)
        self._kinds = {"predict": self._predict, "feedback": self._feedback, "read": self._read}

    async def answer(self, request: Request) -> Response:
        """Answer any request, errors included."""
        facts = Facts(request_id=os.urandom(16).hex(), started=time.perf_counter())
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
        facts.total_ms = _since(facts.started)
        manifest = self._warm.loaded.manifest if self._warm.loaded else None
        known = error if isinstance(error, PilotlightError) else PilotlightError("The fault is ours, and was recorded.")
        if not isinstance(known, RequestError):
            self._recorder.failed(facts, manifest, known, describe(error))
        elif route is not None and route.kind == "predict":
            self._recorder.refused(facts, manifest, known)
        self._flush()
        reply = load_dialect(facts.dialect).refuse(known)
        return _response(reply._replace(headers={**reply.headers, **known.headers}), facts)

    async def _read(self, request: Request, route: Route, places: Mapping[str, str], facts: Facts) -> Response:
        served = None
        if not route.unloaded:
            served = self._served(await self._warm.get())
            _check_places(places, served)
        module, _, name = route.reads.partition(":")
        incoming = Incoming(dict(request.scope["headers"]), b"", None, places, self._table.routes)
        reply: Reply = await _run(route.slow, _call, f"function.{module}", name, incoming, served)
        return _response(reply, facts)

    async def _predict(self, request: Request, route: Route, places: Mapping[str, str], facts: Facts) -> Response:
        headers = dict(request.scope["headers"])  # starlette's would search and decode at each look
        facts.trace = trace_fields(headers, self._settings.google_cloud_project)
        with self._intake.admit(headers) as admission:
            spoken = route.takes.by_media(headers)
            body = await admission.read(request)
            facts.body_bytes = len(body)
            facts.read_ms = _since(facts.started)
            model = await self._warm.get()
            served = self._served(model)
            _check_places(places, served)
            incoming = Incoming(headers, body, None, places)
            if spoken == LINES:
                return await self._stream(model, served, incoming, facts, admission)
            large = len(body) > LOOP_BYTES or spoken in COLUMNAR
            prepared = await _run(large, self._prepare, route, spoken, model, served, incoming, facts)
            large = large or model.cost_ms(facts.instances) > (ALONE_MS if self._intake.alone else LOOP_MS)
            reply = await _run(large, self._finish, route, model, served, headers, prepared, facts)
        self._flush()
        return _response(reply, facts)

    def _prepare(
        self, route: Route, spoken: str, model: Model, served: Served, incoming: Incoming, facts: Facts
    ) -> Prepared:
        start = time.perf_counter()
        if spoken == JSON:
            content = read_json(incoming.body, served.max_instances)
            spoken = route.takes.by_shape(content, served.signature.names)
            incoming = Incoming(incoming.headers, incoming.body, content, incoming.places)
        facts.dialect = spoken
        dialect = load_dialect(spoken)
        call = dialect.parse(incoming, served)
        facts.instances = len(call.instances.rows)
        columns = model.validator.columns(call.instances)
        marks = model.validator.marks(columns, call.instances.at)
        facts.validate_ms = _since(start)
        return Prepared(dialect, call, columns, marks)

    def _finish(
        self, route: Route, model: Model, served: Served, headers: Headers, prepared: Prepared, facts: Facts
    ) -> Reply:
        start = time.perf_counter()
        outputs = _outputs(model, prepared.columns, prepared.call.methods)
        facts.predict_ms = _since(start)
        by_class = chances(outputs, served.signature)
        call = prepared.call
        answered = Answered(
            prepared.columns, outputs, prepared.marks, facts.instances, facts.request_id, by_class, kept=call.kept
        )
        reply = prepared.dialect.render(answered, served)
        facts.total_ms = _since(facts.started)
        self._recorder.answered(facts, served.manifest, answered)
        return compressed(reply, headers, route.smallest_compressed)

    async def _stream(
        self, model: Model, served: Served, incoming: Incoming, facts: Facts, admission: Admission
    ) -> Response:
        """Answer line by line; what is wrong with the whole body is told before the first of them."""
        from function.dialects import ndjson

        facts.dialect = LINES
        chunks = await _run(len(incoming.body) > LOOP_BYTES, ndjson.chunks, incoming, served)
        admission.keep()
        lines = self._answer_lines(model, served, chunks, facts)
        return Streamed(admission, lines, headers={"x-request-id": facts.request_id}, media_type=ndjson.MEDIA_TYPE)

    async def _answer_lines(
        self, model: Model, served: Served, chunks: "Sequence[Chunk]", facts: Facts
    ) -> AsyncIterator[bytes]:
        """Yield each chunk's answers as soon as they are known; record what was answered, once, however it ends."""
        from function.dialects import ndjson

        parts: list[Answered] = []
        try:
            for chunk in chunks:
                large = len(chunks) > 1 or model.cost_ms(len(chunk.values)) > LOOP_MS
                part = await _run(large, self._answer_chunk, model, served, chunk, facts)
                parts.append(part.answered)
                yield ndjson.render(part)
        finally:
            facts.total_ms = _since(facts.started)
            if parts:  # none where the caller has gone before the first
                self._recorder.answered(facts, served.manifest, ndjson.joined(parts, facts.request_id))
            self._flush()

    def _answer_chunk(self, model: Model, served: Served, chunk: "Chunk", facts: Facts) -> "Part":
        from function.dialects.ndjson import Part

        start = time.perf_counter()
        columns, refused = model.validator.sift(Instances(chunk.values, lambda _: ""))
        marks = model.validator.marks(columns, "/{}".format)
        facts.validate_ms += _since(start)
        start = time.perf_counter()
        numbers = [number for index, number in enumerate(chunk.numbers) if index not in refused]
        faults = {**chunk.faults, **{chunk.numbers[index]: error for index, error in refused.items()}}
        methods = usual_methods(served.signature)
        try:
            outputs = _outputs(model, columns, methods) if numbers else {method: [] for method in methods}
        except PredictionFailed as error:
            self._recorder.failed(facts, served.manifest, error, describe(error))
            faults |= dict.fromkeys(numbers, error)
            numbers, columns, outputs = [], {name: [] for name in columns}, {method: [] for method in methods}
        facts.predict_ms += _since(start)
        by_class = chances(outputs, served.signature)
        answered = Answered(columns, outputs, marks, len(numbers), facts.request_id, by_class, first=facts.instances)
        facts.instances += len(numbers)
        facts.invalid_instances += len(faults)
        return Part(numbers, answered, faults)

    async def _feedback(self, request: Request, _: Route, __: Mapping[str, str], facts: Facts) -> Response:
        from function.feedback import outcomes, receipt

        headers = dict(request.scope["headers"])
        facts.trace = trace_fields(headers, self._settings.google_cloud_project)
        with self._intake.admit(headers) as admission:
            Takes().by_media(headers)
            body = await admission.read(request)
            facts.body_bytes = len(body)
            facts.read_ms = _since(facts.started)
            served = self._served(await self._warm.get())
            found = await _run(len(body) > LOOP_BYTES, outcomes, body, served)
            facts.instances = len(found)
            facts.total_ms = _since(facts.started)
            self._recorder.told(facts, served.manifest, found)
        self._flush()
        return _response(receipt(found, served), facts)

    def _served(self, model: Model) -> Served:
        return Served(model.manifest, self._settings.max_instances, self._recorder.totals, model.read)

    def _load(self) -> Model:
        timings = Timings()
        settings = self._settings
        try:
            store = functools.partial(open_store, settings.model_store, settings.store_timeout_seconds)
            model = load_model(settings.pin_file, store, timings)
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

    def __init__(self, admission: Admission, pieces: AsyncIterator[bytes], **head: Any) -> None:
        super().__init__(pieces, **head)
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and pieces."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._admission.release()


async def _run(in_thread: bool, work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.to_thread(work, *arguments) if in_thread else work(*arguments)


def _call(module: str, name: str, *arguments: object) -> Any:
    return getattr(importlib.import_module(module), name)(*arguments)


def _outputs(model: Model, columns: Columns, methods: Sequence[Method]) -> Outputs:
    try:
        return model.engine.predict(columns, methods)
    except Exception as error:
        raise PredictionFailed("The model failed on instances that its signature allows.") from error


def _check_places(places: Mapping[str, str], served: Served) -> None:
    """Raise UnknownModel where a path names another model or version."""
    model, version = served.manifest.model, str(served.manifest.version)
    if places.get("model", model) != model or places.get("version", version) != version:
        raise UnknownModel(f"Version {version} of the model {model} is the only one that is served here.")


def _response(reply: Reply, facts: Facts) -> Response:
    headers = {**reply.headers, "x-request-id": facts.request_id}
    return Response(reply.content, reply.status, headers, reply.media_type)


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
