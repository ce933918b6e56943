"""From an HTTP request to its answer: routes, what runs in the loop and what in a thread, errors, and a record each."""

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from function.call import Answered, Call, chances
from function.contract import CARD
from function.dialects import native
from function.errors import MethodNotAllowed, PilotlightError, PredictionFailed, RequestError, UnknownPath
from function.intake import Intake
from function.model import LoadFailed, Model, Timings, WarmModel, describe, load_model
from function.record import Facts, LineWriter, Recorder, trace_fields
from function.settings import Settings
from function.store import open_store
from function.validation import Columns, Marks

# Above these, work goes to a thread so that the loop keeps answering others; below, the way there costs more than it.
LOOP_MS = 1.0
LOOP_BYTES = 32 * 1024
# A request that nobody else waits behind may take this long in the loop: a thread would cost it a tenth of a
# millisecond and help no one. Whoever comes meanwhile waits at most this long, and then finds threads in use.
ALONE_MS = 25.0
FLUSH_SECONDS = 0.05  # how soon a record is tried again that stdout's reader was too slow for

T = TypeVar("T")
Handler = Callable[[Request, Facts], Awaitable[Response]]


class Prepared(NamedTuple):
    """A body that was read and found valid."""

    call: Call
    columns: Columns
    marks: Marks


class Endpoint:
    """One model at one URL.

    /
    ├── GET  /                 what lives here
    ├── POST /predict          predictions
    ├── GET  /model            signature and card
    ├── GET  /openapi.json     the description of all this
    └── GET  /health
        ├── /live              the process answers
        └── /ready             the model is loaded; asking loads it
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._intake = Intake(settings)
        self._warm = WarmModel(self._load, settings.load_timeout_seconds)
        self._lines = LineWriter(1)
        self._recorder = Recorder(self._lines, settings)
        self._flush_later: asyncio.TimerHandle | None = None
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._index},
            "/predict": {"POST": self._predict},
            "/model": {"GET": self._model},
            "/openapi.json": {"GET": self._openapi},
            "/health/live": {"GET": self._live},
            "/health/ready": {"GET": self._ready},
        }

    async def answer(self, request: Request) -> Response:
        """Answer any request, errors included."""
        facts = Facts(request_id=os.urandom(16).hex(), started=time.perf_counter())
        try:
            return await self._route(request)(request, facts)
        except Exception as error:
            return self._refuse(error, request, facts)

    def _route(self, request: Request) -> Handler:
        methods = self._routes.get(request.scope["path"])
        if methods is None:
            raise UnknownPath(f"Nothing lives here. Known paths: {', '.join(self._routes)}.")
        method = "GET" if request.method == "HEAD" and "GET" in methods else request.method
        if method not in methods:
            allowed = ", ".join(methods)
            raise MethodNotAllowed(f"This path takes {allowed}.", headers={"allow": allowed})
        return methods[method]

    def _refuse(self, error: Exception, request: Request, facts: Facts) -> Response:
        """Answer and record an error; one that is not ours by name is a defect, and callers see nothing of it."""
        facts.total_ms = _since(facts.started)
        manifest = self._warm.loaded.manifest if self._warm.loaded else None
        known = error if isinstance(error, PilotlightError) else PilotlightError("The fault is ours, and was recorded.")
        if not isinstance(known, RequestError):
            self._recorder.failed(facts, manifest, known, describe(error))
        elif request.scope["path"] == "/predict":
            self._recorder.refused(facts, manifest, known)
        self._flush()
        return _json(known.body(), known.status, {**known.headers, "x-request-id": facts.request_id})

    async def _index(self, _: Request, __: Facts) -> Response:
        return _json({"status": "alive", "paths": list(self._routes)})

    async def _live(self, _: Request, __: Facts) -> Response:
        return _json({"status": "alive", "live": True})

    async def _ready(self, _: Request, __: Facts) -> Response:
        manifest = (await self._warm.get()).manifest
        return _json({"status": "ready", "ready": True, "model": manifest.model, "version": manifest.version})

    async def _model(self, _: Request, __: Facts) -> Response:
        from function.description import describe_model

        model = await self._warm.get()
        card = await asyncio.to_thread(model.files.read, CARD, model.manifest.files[CARD].sha256)
        return _json(describe_model(model.manifest, model.engine.name, card.decode()))

    async def _openapi(self, _: Request, __: Facts) -> Response:
        from function.description import openapi

        model = await self._warm.get()
        return _json(openapi(model.manifest, self._settings.max_instances))

    async def _predict(self, request: Request, facts: Facts) -> Response:
        headers = dict(request.scope["headers"])  # starlette's would search and decode at each look
        facts.trace = trace_fields(headers, self._settings.google_cloud_project)
        with self._intake.admit(headers) as admission:
            body = await admission.read(request)
            facts.body_bytes = len(body)
            facts.read_ms = _since(facts.started)
            model = await self._warm.get()
            large = len(body) > LOOP_BYTES
            prepared = await _run(large, self._prepare, model, body, facts)
            large = large or model.cost_ms(facts.instances) > (ALONE_MS if self._intake.alone else LOOP_MS)
            content = await _run(large, self._finish, model, prepared, facts)
        self._flush()
        return Response(content, headers={"x-request-id": facts.request_id}, media_type="application/json")

    def _prepare(self, model: Model, body: bytes, facts: Facts) -> Prepared:
        start = time.perf_counter()
        call = native.parse(body, model.signature, self._settings.max_instances)
        facts.instances = len(call.instances.rows)
        columns = model.validator.columns(call.instances)
        marks = model.validator.marks(columns, call.instances.at)
        facts.validate_ms = _since(start)
        return Prepared(call, columns, marks)

    def _finish(self, model: Model, prepared: Prepared, facts: Facts) -> bytes:
        start = time.perf_counter()
        try:
            outputs = model.engine.predict(prepared.columns, prepared.call.methods)
        except Exception as error:
            raise PredictionFailed("The model failed on instances that its signature allows.") from error
        facts.predict_ms = _since(start)
        by_class = chances(outputs, model.signature)
        answered = Answered(prepared.columns, outputs, prepared.marks, facts.instances, by_class)
        content = native.render(answered, model.manifest, facts.request_id)
        facts.total_ms = _since(facts.started)
        self._recorder.answered(facts, model.manifest, answered)
        return content

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


async def _run(in_thread: bool, work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.to_thread(work, *arguments) if in_thread else work(*arguments)


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
