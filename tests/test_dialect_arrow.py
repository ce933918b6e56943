"""Arrow streams and Parquet through the real framework: the native answers, every fault, and no bombs."""

import io
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from starlette.testclient import TestClient

from function.call import Served, Totals
from function.dialects import arrow, parquet
from lifecycle.versions import Version
from tests.test_dialect_csv import MANY, ROWS, as_table, instances_of, native_table
from tests.test_endpoint import GOOD, error, predict
from tests.toys import TOYS, Toy

STREAM = "application/vnd.apache.arrow.stream"
FILE = "application/vnd.apache.parquet"
MEDIA = [STREAM, FILE]


def as_stream(table: pa.Table, **options: Any) -> bytes:
    """Return a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def as_file(table: pa.Table, **options: Any) -> bytes:
    """Return a table as Parquet."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


WRITE: dict[str, Callable[..., bytes]] = {STREAM: as_stream, FILE: as_file}


def post(client: TestClient, media: str, body: pa.Table | bytes, **headers: str) -> httpx2.Response:
    """Return the answer to a table, or to bytes that claim to be one."""
    content = body if isinstance(body, bytes) else WRITE[media](body)
    return client.post("/predict", content=content, headers={"content-type": media, **headers})


def read(response: httpx2.Response) -> pa.Table:
    """Return the table of an answer, its ids checked and taken off."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"] == STREAM:
        table = pa.ipc.open_stream(response.content).read_all()
    else:
        assert response.headers["content-type"] == FILE
        table = pq.read_table(io.BytesIO(response.content))
    request = response.headers["x-request-id"]
    assert table.column("prediction_id").to_pylist() == [f"{request}-{index}" for index in range(table.num_rows)]
    assert table.column_names[-1] == "prediction_id"
    return table.drop_columns("prediction_id")


def one(**changes: Any) -> pa.Table:
    """Return a table of one good row, with some columns of other values."""
    return pa.table({name: pa.array([value]) for name, value in GOOD.items()} | changes)


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("media", MEDIA)
def test_tables_get_the_native_numbers(media: str, name: str, serving: Callable[..., TestClient]) -> None:
    """Whatever shape a model has, its answer as a table is that in JSON, bit for bit."""
    client = serving(name)
    instances = instances_of(name)
    assert read(post(client, media, pa.Table.from_pylist(instances))).to_pydict() == native_table(client, instances)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("binary", ["string", "double", "double"]),
        ("multiclass", ["int64", "double", "double", "double"]),
        ("truth", ["bool", "double", "double"]),
        ("several-numbers", ["double", "double"]),
        ("several-classes", ["string", "string", *["double"] * 5]),
    ],
)
@pytest.mark.parametrize("media", MEDIA)
def test_answers_are_typed(media: str, name: str, kinds: list[str], serving: Callable[..., TestClient]) -> None:
    """Labels have the type that they had in training, and numbers are float64."""
    client = serving(name)
    table = read(post(client, media, pa.Table.from_pylist(instances_of(name)[:2])))
    assert [str(kind) for kind in table.schema.types] == kinds


SAME: dict[str, pa.Table] = {
    "plain": one(),
    "other-order": one().select(["plan", "member", "city", "income", "age"]),
    "whole-float": one(age=[40.0]),
    "small-integer": one(age=pa.array([40], pa.int8())),
    "unsigned": one(age=pa.array([40], pa.uint64())),
    "half-float": one(age=pa.array([40], pa.float16())),
    "decimal": one(age=pa.array([Decimal(40)], pa.decimal128(5, 0))),
    "decimals": one(age=pa.array([Decimal("40.00")], pa.decimal256(50, 2))),
    "nan": one(income=[float("nan")]),
    "missing-double": one(income=pa.array([None], pa.float64())),
    "missing-integer": one(income=pa.array([None], pa.int32())),
    "missing-decimal": one(income=pa.array([None], pa.decimal128(5, 2))),
    "missing-dictionary": one(income=pa.array([None], pa.float64()).dictionary_encode()),
    "large-string": one(city=pa.array(["Genève"], pa.large_string())),
    "dictionary": one(city=pa.array(["Genève"]).dictionary_encode(), plan=pa.array(["paid"]).dictionary_encode()),
    "dictionary-of-numbers": one(age=pa.array([40]).dictionary_encode()),
    "index": one(**{"__index_level_0__": ["ignored"]}),
}


@pytest.mark.parametrize("case", SAME)
@pytest.mark.parametrize("media", MEDIA)
def test_every_type_that_holds_a_value_gets_the_same_answer(media: str, case: str, client: TestClient) -> None:
    """The type of a column is how a value is stored, not what it is."""
    assert read(post(client, media, SAME[case])).to_pydict() == native_table(client, [GOOD])


def test_views_of_text_are_text(client: TestClient) -> None:
    """The type in which newer writers hold text is read, alone and in a dictionary, short and long."""
    table = one(city=pa.array([None, "Genève"], pa.string_view()).slice(1))
    assert read(post(client, STREAM, table)).to_pydict() == native_table(client, [GOOD])
    wrong = one(city=pa.array(["x" * 99], pa.string_view()))
    details = error(post(client, STREAM, wrong), 422, "invalid_instances")["details"]
    assert [detail["at"] for detail in details] == ["/rows/0/city"]


WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lz4": (STREAM, {"compression": "lz4"}),
    "zstd": (STREAM, {"compression": "zstd"}),
    **{name: (FILE, {"compression": name}) for name in ("none", "snappy", "gzip", "zstd", "lz4", "brotli")},
    "version-1": (FILE, {"version": "1.0", "data_page_version": "1.0"}),
    "pages-2": (FILE, {"data_page_version": "2.0"}),
    "small-pages": (FILE, {"data_page_size": 64, "write_batch_size": 8}),
    "row-groups": (FILE, {"row_group_size": 7}),
    "plain": (FILE, {"use_dictionary": False}),
    "no-schema": (FILE, {"store_schema": False}),
    "delta": (
        FILE,
        {"use_dictionary": ["city"], "column_encoding": {"age": "DELTA_BINARY_PACKED"}},
    ),
    "split": (FILE, {"use_dictionary": ["city"], "column_encoding": {"income": "BYTE_STREAM_SPLIT"}}),
}


@pytest.mark.parametrize("case", WRITERS)
def test_every_way_to_write_a_table_is_read(case: str, client: TestClient) -> None:
    """Compressions, encodings and versions of a format change nothing."""
    media, options = WRITERS[case]
    instances = instances_of("binary")
    body = WRITE[media](pa.Table.from_pylist(instances), **options)
    assert read(post(client, media, body)).to_pydict() == native_table(client, instances)


def test_what_pandas_writes_is_read(client: TestClient) -> None:
    """A frame with categories and an index of its own is read as it is."""
    frame = TOYS["binary"]().features.sample(frac=1, random_state=1)
    body = io.BytesIO()
    frame.to_parquet(body)
    expected = native_table(client, [instances_of("binary")[index] for index in frame.index])
    assert read(post(client, FILE, body.getvalue())).to_pydict() == expected
    assert read(post(client, STREAM, pa.Table.from_pandas(frame))).to_pydict() == expected


def test_a_stream_may_have_several_batches(client: TestClient) -> None:
    """Batches, empty ones too, are one table, whose dictionaries may change."""
    table = pa.Table.from_pylist(instances_of("binary"))
    parts = [table.slice(0, 50), table.slice(50, 0), table.slice(50)]
    encoded = [part.set_column(2, "city", part.column("city").combine_chunks().dictionary_encode()) for part in parts]
    body = as_stream(pa.concat_tables(encoded), emit_dictionary_deltas=False)
    assert read(post(client, STREAM, body)).to_pydict() == native_table(client, instances_of("binary"))


def hours(frame: pd.DataFrame) -> np.ndarray:
    """Return the hours since 2020 of each column of times."""
    start = pd.Timestamp("2020-01-01")
    columns = [frame[name].dt.tz_localize(None) if frame[name].dt.tz else frame[name] for name in frame]
    return np.stack([((column - start) / pd.Timedelta(hours=1)).to_numpy(float) for column in columns], axis=1)


def times() -> Toy:
    """Give times without and with a time zone to a function of its own."""
    local = pd.date_range("2024-01-01", periods=60, freq="7h13min")
    frame = pd.DataFrame({"local": local, "there": (local + pd.Timedelta(days=3)).tz_localize("Europe/Zurich")})
    frame["price"] = np.arange(60) * 1.5
    features = frame.drop(columns="price")
    pipeline = make_pipeline(FunctionTransformer(hours), LinearRegression()).fit(features, frame.price)
    return Toy(pipeline, frame, ["price"])


ZURICH = ZoneInfo("Europe/Zurich")
MOMENT = datetime(2024, 2, 3, 4, 5, 6, 789_000)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("media", MEDIA)
def test_times_are_those_of_the_native_format(
    media: str, unit: str, serving: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time is what its ISO text is in JSON, with the offset of its column's time zone, in any unit."""
    monkeypatch.setitem(TOYS, "times", times)
    client = serving("times")
    table = pa.table(
        {
            "local": pa.array([MOMENT, datetime(1969, 12, 31, 23, 59, 59, 999_000)], pa.timestamp(unit)),
            "there": pa.array([MOMENT.replace(tzinfo=ZURICH)] * 2, pa.timestamp(unit, "Europe/Zurich")),
        }
    )
    rows = [{"local": row["local"].isoformat(), "there": row["there"].isoformat()} for row in table.to_pylist()]
    assert read(post(client, media, table)).to_pydict() == native_table(client, rows)


def test_dates_and_wrong_times_are_as_in_the_native_format(
    serving: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A date is its midnight; a time with an offset where none is expected, or of no year, is a fault of its row."""
    monkeypatch.setitem(TOYS, "times", times)
    client = serving("times")
    there = pa.array([MOMENT.replace(tzinfo=UTC)], pa.timestamp("s", "UTC"))
    day = pa.table({"local": pa.array([date(2024, 2, 3)]), "there": there})
    row = {"local": "2024-02-03", "there": "2024-02-03T04:05:06+00:00"}
    assert read(post(client, STREAM, day)).to_pydict() == native_table(client, [row])
    for local, found in ((there, "2024-02-03T04:05:06+00:00"), (pa.array([2**60], pa.timestamp("s")), "since 1970")):
        wrong = pa.table({"local": local, "there": there})
        details = error(post(client, STREAM, wrong), 422, "invalid_instances")["details"]
        assert [detail["at"] for detail in details] == ["/rows/0/local"]
        assert found in details[0]["found"]


@pytest.mark.parametrize("media", MEDIA)
def test_wrong_values_are_named_by_their_row(media: str, client: TestClient) -> None:
    """A value that does not fit is a fault at its row and column, all at once."""
    rows = pa.concat_tables([one(), one(city=["Rom"], income=[float("inf")])], promote_options="permissive")
    found = error(post(client, media, rows), 422, "invalid_instances")
    assert found["message"] == "1 of 2 instances is invalid."
    assert [(detail["at"], detail["found"]) for detail in found["details"]] == [
        ("/rows/1/income", "Infinity"),
        ("/rows/1/city", '"Rom"'),
    ]


@pytest.mark.parametrize("media", MEDIA)
def test_wrong_names_are_named(media: str, client: TestClient) -> None:
    """Unknown and missing columns are told by name."""
    table = one(city=["Bern"]).rename_columns(["age", "income", "town", "member", "plan"])
    message = error(post(client, media, table), 400, "invalid_body")["message"]
    assert message == 'The columns are not the model\'s features. Unknown: "town"; missing: "city".'


def test_a_column_that_is_there_twice_is_named(client: TestClient) -> None:
    """Which of two columns of a name is meant is not guessed."""
    table = pa.Table.from_arrays([*one().columns, pa.array([41])], [*GOOD, "age"])
    for media in MEDIA:
        assert 'once: "age"' in error(post(client, media, table), 400, "invalid_body")["message"]


ODD: dict[str, pa.Array] = {
    "list": pa.array([[1, 2, 3]]),
    "struct": pa.array([{"a": 1}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "binary": pa.array([b"40"]),
    "time": pa.array([1], pa.time32("s")),
    "duration": pa.array([1], pa.duration("s")),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("media", MEDIA)
def test_types_that_no_feature_has_are_named(media: str, case: str, client: TestClient) -> None:
    """Lists, objects, bytes and spans of time are no values of a feature."""
    found = error(post(client, media, one(age=ODD[case])), 400, "invalid_body")
    assert found["message"].endswith("of these columns: age.")
    assert [detail["at"] for detail in found["details"]] == ["/columns/age"]


@pytest.mark.parametrize("media", MEDIA)
def test_rows_are_limited_and_needed(media: str, serving: Callable[..., TestClient]) -> None:
    """No row asks for nothing, and more than a request may have are a 413."""
    client = serving("binary", MAX_INSTANCES="3")
    table = pa.concat_tables([one()] * 4)
    assert read(post(client, media, table.slice(1))).num_rows == 3
    message = error(post(client, media, table), 413, "too_many_instances")["message"]
    assert message.startswith("4 instances were sent")
    assert error(post(client, media, table.slice(0, 0)), 400, "invalid_body")["message"].startswith("There is nothing")


def test_rows_that_take_no_bytes_are_counted_first(client: TestClient) -> None:
    """A column of nothing may have any number of rows in a few bytes."""
    table = pa.table(dict.fromkeys(GOOD, pa.nulls(5_000_000)))
    body = as_stream(table)
    assert len(body) < 10_000
    error(post(client, STREAM, body), 413, "too_many_instances")


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "compressed-stream": (STREAM, lambda: as_stream(zeros(20_000_000), compression="zstd")),
    "compressed-file": (FILE, lambda: as_file(zeros(90_000, "x" * 900), compression="zstd", use_dictionary=False)),
    "shared-text-stream": (STREAM, lambda: as_stream(shared("x" * 1_000_000, 90_000))),
    "shared-text-file": (FILE, lambda: as_file(shared("x" * 1_000_000, 90_000), store_schema=False)),
    "shared-view-stream": (STREAM, lambda: as_stream(views("x" * 1_000_000, 90_000))),
}


def zeros(rows: int, value: Any = 0) -> pa.Table:
    """Return a table of a column of one value and of other columns of nothing."""
    return pa.table({**dict.fromkeys(GOOD, pa.nulls(rows)), "city": pa.repeat(value, rows)})


def shared(text: str, rows: int) -> pa.Table:
    """Return a table in which all rows share a text of a dictionary."""
    city = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), pa.array([text]))
    return pa.table({**dict.fromkeys(GOOD, pa.nulls(rows)), "city": city})


def views(text: str, rows: int) -> pa.Table:
    """Return a table in which all rows are views of one text."""
    once = pa.array([text], pa.string_view()).buffers()
    city = pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(once[1].to_pybytes() * rows), *once[2:]])
    return pa.table({**dict.fromkeys(GOOD, pa.nulls(rows)), "city": city})


@pytest.mark.parametrize("case", BOMBS)
def test_few_bytes_that_become_many_are_refused(case: str, client: TestClient) -> None:
    """What a body says to be once decoded is limited, and so are its texts, however often each is meant."""
    media, write = BOMBS[case]
    body = write()
    assert len(body) < 3_000_000
    before = pa.total_allocated_bytes()
    assert "64 MiB" in error(post(client, media, body), 413, "body_too_large")["message"]
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_a_footer_that_says_less_than_the_pages_is_not_believed(client: TestClient) -> None:
    """The sizes in the footer bind nobody; those in the heads of pages do."""
    table = zeros(90_000, "x" * 900)
    body = as_file(table, compression="zstd", use_dictionary=False, write_statistics=False)
    said = pq.ParquetFile(io.BytesIO(body)).metadata.row_group(0).column(list(GOOD).index("city"))
    real = varint(said.total_uncompressed_size)
    start = body.rindex(real)
    false = body[:start] + bytes([128] * (len(real) - 1) + [0]) + body[start + len(real) :]
    lying = pq.ParquetFile(io.BytesIO(false)).metadata.row_group(0).column(list(GOOD).index("city"))
    assert lying.total_uncompressed_size == 0
    error(post(client, FILE, false), 413, "body_too_large")


def varint(value: int) -> bytes:
    """Return a positive number as Thrift's compact protocol writes it."""
    value, found = value << 1, []
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_that_share_their_starts_are_refused(encoding: str, client: TestClient) -> None:
    """An encoding in which few bytes become any number, or which pyarrow reads in full alone, is not read."""
    body = as_file(one(), use_dictionary=False, column_encoding={"city": encoding})
    message = error(post(client, FILE, body), 400, "invalid_body")["message"]
    assert message == f"The column city is encoded as {encoding}; write it as PLAIN."


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("body", [b"", b"\0", b"age,income", b"PAR1", b"PAR1PAR1", b"\xff" * 64, b"{}"])
def test_what_is_no_table_is_told(body: bytes, media: str, client: TestClient) -> None:
    """Bytes that are no table are a 400."""
    error(post(client, media, body), 400, "malformed_body")


def test_a_stream_and_a_file_are_told_apart(client: TestClient) -> None:
    """An Arrow file where a stream is expected gets an answer that says so."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, one().schema) as writer:
        writer.write_table(one())
    message = error(post(client, STREAM, sink.getvalue().to_pybytes()), 400, "malformed_body")["message"]
    assert message == "The body is an Arrow file (Feather); send an Arrow IPC stream."


def damaged(body: bytes) -> st.SearchStrategy[bytes]:
    """Return bodies with a few bytes changed or the end cut off."""
    change = st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255))

    def changed(changes: list[tuple[int, int]]) -> bytes:
        content = bytearray(body)
        for place, byte in changes:
            content[place] = byte
        return bytes(content)

    return st.lists(change, min_size=1, max_size=3).map(changed) | st.integers(0, len(body)).map(lambda end: body[:end])


SAMPLE = pa.Table.from_pylist([dict(GOOD), {**GOOD, "income": 3.5, "city": "Bern"}])
BODIES: dict[str, tuple[str, bytes]] = {
    "stream": (STREAM, as_stream(SAMPLE)),
    "encoded-stream": (STREAM, as_stream(SAMPLE.set_column(2, "city", SAMPLE.column("city").dictionary_encode()))),
    "compressed-stream": (STREAM, as_stream(SAMPLE, compression="lz4")),
    "file": (FILE, as_file(SAMPLE)),
    "plain-file": (FILE, as_file(SAMPLE, use_dictionary=False, compression="none", store_schema=False)),
}


@pytest.mark.parametrize("case", BODIES)
def test_no_damage_is_our_fault(case: str, client: TestClient) -> None:
    """Whatever bytes of a table are changed, the answer is one or names a fault of the caller's, in few words."""
    media, body = BODIES[case]

    @given(body=damaged(body))
    @MANY
    def check(body: bytes) -> None:
        response = post(client, media, body)
        assert response.status_code in (200, 400, 413, 422), response.text
        assert len(response.content) < 20_000

    check()


@pytest.mark.parametrize("media", MEDIA)
def test_any_rows_get_the_native_answer(media: str, client: TestClient) -> None:
    """Rows of any values are answered as in JSON."""

    @given(rows=ROWS)
    @MANY
    def check(rows: list[dict[str, Any]]) -> None:
        numbers = {"age": float, "income": float}
        columns = {
            name: [numbers[name](row[name]) if name in numbers and row[name] is not None else row[name] for row in rows]
            for name in GOOD
        }
        assert read(post(client, media, pa.table(columns))).to_pydict() == native_table(client, rows)

    check()


@pytest.mark.parametrize("media", MEDIA)
def test_accept_chooses_between_the_format_and_json(media: str, client: TestClient) -> None:
    """JSON that is named before the format and before anything is the answer's format."""
    expected = native_table(client, [GOOD])
    for accept in ("*/*", media, f"{media}, application/json", "text/csv"):
        assert read(post(client, media, one(), accept=accept)).to_pydict() == expected
    answer = post(client, media, one(), accept=f"application/json, {media}").json()
    assert as_table(answer, [{"name": "label"}]) == expected
    assert set(answer) == set(predict(client, {"instances": [GOOD]}))


@pytest.mark.parametrize("media", MEDIA)
def test_without_pyarrow_the_answer_says_what_to_add(
    media: str, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image without pyarrow says so, and answers everything else."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = error(post(client, media, b"anything"), 415, "unsupported_media_type")["message"]
    assert "has no pyarrow" in message
    assert "add pyarrow to the image's requirements" in message
    assert predict(client, GOOD)["model"] == "binary"


@pytest.mark.parametrize(("dialect", "media"), [(arrow, STREAM), (parquet, FILE)])
def test_the_dialects_describe_themselves(dialect: Any, media: str, published: Callable[[str], Version]) -> None:
    """A body and its answer are bytes, and the answer's media type is the request's."""
    described = dialect.describe(Served(published("binary").manifest, 10, Totals(), lambda _: b""))
    assert described.request["format"] == described.answer["format"] == "binary"
    assert described.answer_media == media


def test_streams_of_before_arrow_one_are_refused(client: TestClient) -> None:
    """Their compressed buffers do not say how long they are, so that a small body could take any memory."""
    old = WRITE[STREAM](one(), metadata_version=pa.ipc.MetadataVersion.V4)
    assert "Arrow 1.0" in error(post(client, STREAM, old), 400, "malformed_body")["message"]


def test_a_dictionary_that_comes_back_with_each_batch_is_too_large(client: TestClient) -> None:
    """A dictionary counts once for each batch that has it, for as often it is read."""
    values = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(range(1_000_000)))
    batch = pa.record_batch(one(age=values).to_batches()[0])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(20):
            writer.write_batch(batch)
    error(post(client, STREAM, sink.getvalue()), 413, "body_too_large")
