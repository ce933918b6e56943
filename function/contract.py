"""Every JSON shape that one part writes and another reads: pin, manifest, signature, golden examples, records."""

from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NotRequired, TypedDict

import orjson
from pydantic import BaseModel, ConfigDict

MANIFEST = "manifest.json"
FITTED = "model.joblib"
COMPILED = "model.npz"
REFERENCE = "reference.json"
GOLDEN = "golden.jsonl"
CARD = "card.md"
CLAIM = "claim"
ALIASES = "aliases.json"
BLOBS = "blobs"  # beside the pin: the version's files in an image that was baked, named by their SHA-256

Label = bool | int | float | str
Method = Literal["predict", "predict_proba", "decision_function"]

# The user agent of calls that check a revision: golden examples and replays. Nobody counts them as traffic: their
# records are of the kind "check", and Cloud Run's request log names the agent.
CHECK_AGENT = "pilotlight-check"

# Two floats agree when |a-b| <= TOLERANCE * max(|a|, |b|, that output's largest magnitude on the training frame):
# another CPU's BLAS may differ in the last bits.
TOLERANCE = 1e-12


class Shape(BaseModel):
    """A frozen JSON object that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pin(Shape):
    """The one model version that an image serves."""

    model: str
    version: int
    manifest_sha256: str


class Feature(Shape):
    """One input of a model, as the training frame had it, and what to do with values it never had."""

    name: str
    type: Literal["integer", "number", "boolean", "text", "datetime"]
    dtype: str  # the training column's, as pandas spells it
    nullable: bool
    missing: Literal["nan", "none"] = "nan"  # what stands for a missing value in a column of dtype object
    categories: tuple[Label, ...] | None = None
    ordered: bool = False  # of dtype category
    category_dtype: str | None = None  # of dtype category: the dtype of the categories themselves
    minimum: float | None = None
    maximum: float | None = None
    largest: float | None = None  # the largest magnitude that the fitted pipeline takes, where it refuses some floats
    example: Label | None
    unseen: Literal["reject", "mark"] = "reject"  # a category that training never had
    outside: Literal["reject", "mark"] = "mark"  # a number far outside the training range
    factor: float = 1.0  # far: beyond the range by more than this many times its width

    def bounds(self) -> tuple[float, float] | None:
        """Return the lowest and highest value that is not far outside, or None for a feature without range."""
        if self.minimum is None or self.maximum is None:
            return None
        margin = self.factor * (self.maximum - self.minimum)
        return self.minimum - margin, self.maximum + margin


class Output(Shape):
    """One target: its name and, for a classifier, its classes in the order of the probabilities."""

    name: str
    classes: tuple[Label, ...] | None = None

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The classes as JSON keys: text as it is, anything else as JSON spells it."""
        return tuple(one if isinstance(one, str) else orjson.dumps(one).decode() for one in self.classes or ())


class Signature(Shape):
    """What a model takes and gives; learned from the training frame."""

    task: Literal["classification", "regression"]
    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]
    methods: tuple[Method, ...]
    # What the fitted pipeline takes: a frame of named columns, a matrix, the one column's values, or a list of records.
    form: Literal["frame", "array", "column", "records"]
    # Per method the largest magnitude of each value it gave on the training frame, in the order of one flattened row.
    magnitudes: dict[Method, tuple[float, ...]]

    def __hash__(self) -> int:
        """Return its identity: what is made of a signature can be kept with it."""
        return id(self)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the features."""
        return frozenset(feature.name for feature in self.features)


class Privacy(Shape):
    """Features that never reach a prediction record as they are."""

    omit: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()


class File(Shape):
    """A file of the version."""

    sha256: str
    size: int


class Metric(Shape):
    """A metric measured on the test frame, with its 95 % bootstrap interval and its value on the training frame."""

    value: float
    low: float
    high: float
    train: float | None


class Limit(Shape):
    """One acceptance limit and the value that met it."""

    name: str
    stands: str  # where the limit is written
    rule: str
    value: float | None
    met: bool


class Data(Shape):
    """The frames that made the version: a digest of their content, and their sizes."""

    sha256: str
    train_rows: int
    test_rows: int


class Estimator(Shape):
    """The fitted pipeline's class and hyper-parameters, as text."""

    name: str
    parameters: dict[str, str]


class Proof(Shape):
    """The comparison of the compiled model with the fitted pipeline when the version was packaged."""

    verdict: Literal["holds", "fails", "not compiled"]
    reason: str | None = None  # the step that is not compiled, or the row that differs
    rows: int = 0  # of the training and test frames
    hard_rows: int = 0  # built to break it
    refused_rows: int = 0  # by both engines
    # Of numbers, per method: as a share of the larger number or that output's largest magnitude, as TOLERANCE is one.
    largest_differences: dict[Method, float] = {}


class Sources(Shape):
    """Digests of what made a version, beside its data; a version is made anew when one of them changes."""

    folder: str  # the model's own files
    code: str  # the modules of lifecycle/ and function/ that take part in making a version
    libraries: str  # the versions that the image's lock file names


class Manifest(Shape):
    """Everything known about a model version; written last, so a version exists if and only if this does."""

    format: Literal[1] = 1
    model: str
    version: int
    created_at: str
    purpose: str
    owner: str
    engine: Literal["numpy", "sklearn"]
    proof: Proof
    signature: Signature
    privacy: Privacy
    files: dict[str, File]
    libraries: dict[str, str]
    git_commit: str | None
    data: Data
    estimator: Estimator
    metrics: dict[str, Metric]
    slices: dict[str, dict[str, float]]
    limits: tuple[Limit, ...]
    notes: tuple[str, ...]
    positive: Label | None
    recipe: dict[str, Any]  # model.yaml as it was read
    sources: Sources | None = None  # not known of packaged pipelines, and of old versions


class GoldenExample(Shape):
    """One raw instance and what the fitted pipeline gave for it, per method one row of its output."""

    instance: dict[str, Any]
    outputs: dict[Method, Any]


class RecordHead(TypedDict):
    """What every record starts with."""

    severity: str
    time: datetime  # written as RFC 3339
    message: str
    # "prediction", "rejection", "failure", "feedback", "load" or "load_failure"; "check" instead of the first three
    # where the caller says that it checks (CHECK_AGENT): `outcome` and `status` tell which of them it would be.
    kind: str
    service: str
    revision: str
    model: str
    version: int
    engine: str


class RecordExtras(TypedDict, total=False):
    """Fields of any record that are there only when there is something to say."""

    records_dropped: int  # earlier records that could not be written
    stack_trace: str  # read by Error Reporting


# Fields that Cloud Logging takes out of the line: https://cloud.google.com/logging/docs/structured-logging
Trace = TypedDict(
    "Trace",
    {
        "logging.googleapis.com/trace": str,
        "logging.googleapis.com/spanId": str,
        "logging.googleapis.com/trace_sampled": bool,
    },
    total=False,
)


class RequestRecord(RecordHead):
    """One request at the prediction endpoint: answered, rejected or failed.

    Field names become BigQuery columns: flat, lower-case, one type each for ever. A floating-point field is never
    written as an integer.
    """

    request_id: str
    dialect: str
    outcome: str  # "answered", or the error code
    status: int
    instances: int
    invalid_instances: int
    marked: int  # values accepted although training never had their like
    body_bytes: int
    read_ms: float
    validate_ms: float
    predict_ms: float
    total_ms: float
    features_json: NotRequired[str]  # array of instances, without what model.yaml keeps out
    predictions_json: NotRequired[str]  # array of {"prediction", "probabilities"}
    logged_json: NotRequired[str]  # array of the indexes of the instances in the two fields above
    instances_logged: NotRequired[int]
    cut: NotRequired[bool]  # true when fewer instances are logged than were answered


class FeedbackRecord(RecordHead):
    """One true outcome that a caller sent for one prediction; the last one of an id counts."""

    request_id: str  # of the feedback
    prediction_id: str
    outcome_json: str
    observed_at: NotRequired[datetime]  # when it was seen, where the caller knows


class LoadRecord(RecordHead):
    """One attempt to load the pinned version, split into its parts."""

    outcome: str
    source: str  # "store" or "image"
    import_ms: float
    fetch_ms: float
    verify_ms: float
    load_ms: float
    replay_ms: float
    total_ms: float
