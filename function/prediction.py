"""From a body to its answer: read, held against the signature, computed, rendered; in the loop or in a thread."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from function.call import JSON, Answered, Call, Incoming, Reply, Served, chances, usual_methods
from function.contract import Method
from function.dialects import Dialect, load_dialect
from function.dialects.json_body import read_json
from function.engines import Outputs
from function.errors import PredictionFailed
from function.model import Model
from function.record import Facts
from function.routes import Route
from function.validation import Columns, Instances, Marks

if TYPE_CHECKING:
    from function.dialects.ndjson import Line, Part


class Exchange(NamedTuple):
    """A request under way, and who answers it."""

    route: Route
    model: Model
    served: Served
    incoming: Incoming
    facts: Facts


class Prepared(NamedTuple):
    """A body that was read and found valid."""

    dialect: Dialect
    call: Call
    columns: Columns
    marks: Marks


def prepare(exchange: Exchange, spoken: str) -> Prepared:
    """Read a body in the dialect of its media type, or of its shape where that is JSON; raises RequestError."""
    route, model, served, incoming, facts = exchange
    start = time.perf_counter()
    if spoken == JSON:
        incoming.content = read_json(incoming.body, served.max_instances, route.takes.lists_per_instance)
        spoken = route.takes.by_shape(incoming.content, served.signature.names)
    facts.dialect = spoken
    dialect = load_dialect(spoken)
    call = dialect.parse(incoming, served)
    facts.instances = len(call.instances.rows)
    columns = model.validator.columns(call.instances)
    marks = model.validator.marks(columns, call.instances.at)
    facts.validate_ms = since(start)
    return Prepared(dialect, call, columns, marks)


def predict(exchange: Exchange, prepared: Prepared) -> tuple[Answered, Reply]:
    """Return what the model gave, and the answer that says it; raises PredictionFailed."""
    _, model, served, __, facts = exchange
    start = time.perf_counter()
    outputs = _outputs(model, prepared.columns, prepared.call.methods)
    facts.predict_ms = since(start)
    by_class = chances(outputs, served.signature)
    answered = Answered(
        prepared.columns,
        outputs,
        prepared.marks,
        facts.instances,
        facts.request_id,
        by_class,
        0,
        prepared.call.kept,
    )
    return answered, prepared.dialect.render(answered, served)


def predict_lines(exchange: Exchange, lines: "Sequence[Line]") -> "Part":
    """Return the answer of some lines; what is wrong with one of them is its own answer."""
    from function.dialects import ndjson

    _, model, served, __, facts = exchange
    start = time.perf_counter()
    chunk = ndjson.read(lines, served)
    columns, refused = model.validator.sift(Instances(chunk.values, lambda _: ""))
    marks = model.validator.marks(columns, "/{}".format)
    facts.validate_ms += since(start)
    start = time.perf_counter()
    numbers = [number for index, number in enumerate(chunk.numbers) if index not in refused]
    faults = {**chunk.faults, **{chunk.numbers[index]: error for index, error in refused.items()}}
    outputs = _outputs(model, columns, usual_methods(served.signature)) if numbers else {}
    facts.predict_ms += since(start)
    by_class = chances(outputs, served.signature)
    answered = Answered(columns, outputs, marks, len(numbers), facts.request_id, by_class, facts.instances)
    facts.instances += len(numbers)
    facts.invalid_instances += len(faults)
    return ndjson.Part(numbers, answered, faults)


def since(start: float) -> float:
    """Return the milliseconds since a moment of time.perf_counter."""
    return (time.perf_counter() - start) * 1000


def _outputs(model: Model, columns: Columns, methods: Sequence[Method]) -> Outputs:
    try:
        return model.engine.predict(columns, methods)
    except Exception as error:
        raise PredictionFailed("The model failed on instances that its signature allows.") from error
