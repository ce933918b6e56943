"""The harness measures what it says and ends in time; how long anything takes is not asserted."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from tests.benchmarks import client, dialects, measures
from tests.benchmarks.contenders import BUCKET, CONTENDERS, HERE, Contender, Setting, framework, native_body
from tests.benchmarks.known.main import PREDICT_MS
from tests.benchmarks.measures import QUICK, Load, Round
from tests.benchmarks.results import TARGETS, Result, Target, compared, result, verdicts
from tests.benchmarks.servers import ContenderError, attempt, first_answer, running, storage_double
from tests.benchmarks.versions import ROOT, Version, newest, publish
from tests.speakers import SPEAKERS

SCRIPTS = Path(sys.executable).parent
ALWAYS_MEASURED = {"cold_seconds", "p50_us", "p99_us", "requests_per_second", "memory_mb"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc, which only Linux has")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a store with two versions of a tiny fitted pipeline; only what naive and echo need of them."""
    folder = tmp_path_factory.mktemp("store")
    frame = pd.DataFrame({"tenure": [1.0, 2.0, 30.0, 40.0]})
    pipeline = LogisticRegression().fit(frame, ["Yes", "Yes", "No", "No"])
    for number in (9, 10):
        version = folder / "churn" / str(number)
        version.mkdir(parents=True)
        joblib.dump(pipeline, version / "model.joblib")
        (version / "golden.jsonl").write_text(json.dumps({"instance": {"tenure": float(number)}}) + "\n")
    return folder.as_uri()


@pytest.fixture
def version(store: str, tmp_path: Path) -> Version:
    """Return the newest version of that store."""
    return newest("churn", store, tmp_path)


@pytest.fixture
def known() -> Contender:
    """Return the contender whose numbers are known."""
    return Contender("known", [*framework(SCRIPTS, HERE / "known" / "main.py"), "--asgi"], "{}", prints_records=True)


def python(code: str) -> Contender:
    """Return a contender that is one line of Python."""
    return Contender("broken", [sys.executable, "-c", code], "{}")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as `make bench` does, only quicker."""
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--model", "churn", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_newest_compares_numbers(version: Version) -> None:
    """Version 10 is newer than version 9, and its first golden example is what contenders are asked."""
    assert version.folder.name == "10"
    assert version.rows(2) == [{"tenure": 10.0}] * 2


def test_newest_needs_a_version(store: str, tmp_path: Path) -> None:
    """A store without the model is refused with the folder that was searched."""
    with pytest.raises(FileNotFoundError, match=r"store.*/unknown"):
        newest("unknown", store, tmp_path)


def test_echo_answers_with_its_body(version: Version, tmp_path: Path) -> None:
    """The echo returns the very request, so that it costs what the framework costs."""
    with running(CONTENDERS["echo"](Setting(version, SCRIPTS)), tmp_path) as server:
        _, answer = first_answer(server)
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"instances": [{"tenure": 10.0}]}


def test_naive_predicts(version: Version, tmp_path: Path) -> None:
    """The naive handler answers with the fitted pipeline's label and probabilities."""
    with running(CONTENDERS["naive"](Setting(version, SCRIPTS)), tmp_path) as server:
        _, answer = first_answer(server)
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["predictions"] == ["Yes"]
    assert sum(body["probabilities"][0]) == pytest.approx(1)


@linux
def test_known_numbers_are_found(known: Contender, tmp_path: Path) -> None:
    """The engine's time is the one in the records, and no request is quicker than its server's wait."""
    colds = measures.cold_starts([known], 1, tmp_path)
    loads = measures.under_load([known], QUICK, tmp_path)
    found = result("churn", "known", colds["known"], loads["known"])
    assert found.predict_us == PREDICT_MS * 1000
    assert found.p99_us >= found.p50_us >= PREDICT_MS * 1000
    assert found.own_us == pytest.approx(found.p50_us - PREDICT_MS * 1000)
    assert 0 < found.requests_per_second <= measures.CONNECTIONS * 1000 / PREDICT_MS
    assert found.cold_seconds > PREDICT_MS / 1000
    assert found.memory_mb > 10


@pytest.mark.long
@linux
def test_every_cell_is_filled(store: str, tmp_path: Path) -> None:
    """The command prints every contender and measures every number that it can have."""
    file = tmp_path / "results.json"
    done = run("--store", store, "--contender", "naive", "--contender", "echo", "--json", str(file))
    assert done.returncode == 0, done.stderr
    results = json.loads(file.read_text())["results"]
    assert [row["contender"] for row in results] == ["naive", "echo"]
    for row in results:
        assert all(row[key] > 0 for key in ALWAYS_MEASURED), row
        assert row["cold_times_naive"] > 0
        # The line of the table: contender and five numbers and the ratio, then no own time; the beside of some.
        line = next(line for line in done.stdout.splitlines() if row["contender"] in line.split()[:1])
        assert len(line.split()) == 10
    assert results[0]["beside_p99_us"] > 0


def test_cells_of_our_own_server() -> None:
    """The ratios are own time to the echo's p50, and cold start to the naive handler's."""
    rounds = {"ours": Round(150, 300, 900, 30, 120), "naive": Round(9000, 9900, 90), "echo": Round(60, 90, 9999)}
    colds = {"ours": [0.4, 0.3, 0.5], "naive": [2.0], "echo": [0.2]}
    results = [result("churn", name, colds[name], Load([rounds[name]], 100)) for name in rounds]
    ours, naive, _ = compared(results)
    assert (ours["own_us"], ours["own_times_echo"], ours["cold_times_naive"]) == (120, 2, 0.2)
    assert (naive["own_us"], naive["own_times_echo"], naive["cold_times_naive"]) == (None, None, 1)


def test_verdicts() -> None:
    """What is at most as wanted is reached; a rate has to be at least that; what was not measured is left out."""
    rows: list[dict[str, object]] = [
        {"model": "forest", "contender": "ours", "cold_seconds": 0.3, "p50_us": 200, "requests_per_second": 390},
        {"model": "forest", "contender": "naive", "cold_seconds": 1.0, "p50_us": 3000, "requests_per_second": 10},
    ]
    cold, p50, rate, compute = verdicts("forest", rows, {"numpy": 2.0, "sklearn": 4.0})
    assert (cold.measure, cold.found, cold.wanted, cold.reached) == ("cold start, baked / naive", 0.3, 0.3, True)
    assert (p50.reached, rate.reached, compute.reached) == (False, False, True)
    assert verdicts("other", rows, None) == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_targets_name_contenders_and_numbers(target: Target) -> None:
    """A target of a misspelt contender or number would never be missed."""
    assert {target.ours, target.other} <= set(CONTENDERS)
    assert target.key in {field.name for field in fields(Result)}


@pytest.mark.long
@linux
def test_ours_is_measured_in_every_way(tmp_path: Path) -> None:
    """A pipeline that is fitted and packaged here is served from the image and from a bucket, and computed alone."""
    version = publish("linear", tmp_path)
    with storage_double(BUCKET) as cloud:
        setting = Setting(version, SCRIPTS, cloud)
        contenders = [CONTENDERS["ours"](setting), CONTENDERS["bucket"](setting)]
        colds = measures.cold_starts(contenders, 1, tmp_path)
        beside = measures.beside_large(contenders[:1], native_body(version, 500), QUICK, tmp_path)
    assert set(colds) == {"ours", "bucket"}
    assert min(beside["ours"]) > 0
    assert min(measures.compute_ms(version, Path(sys.executable)).values()) > 0
    loads = [json.loads(line) for file in tmp_path.glob("*.out") for line in file.read_text().splitlines()]
    assert {line["source"] for line in loads if line["kind"] == "load"} == {"image", "store"}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        pytest.param("raise SystemExit('no model here')", "no model here", id="dies"),
        pytest.param("import sys, time; print('loading', file=sys.stderr); time.sleep(60)", "loading", id="hangs"),
    ],
)
def test_a_broken_contender_says_why(code: str, found: str, tmp_path: Path) -> None:
    """A contender that dies or hangs ends the measurement soon, with its stderr."""
    with running(python(code), tmp_path) as server, pytest.raises(ContenderError, match=found):
        first_answer(server, timeout_seconds=1)


def test_an_error_is_no_first_answer(known: Contender, tmp_path: Path) -> None:
    """A contender that answers with an error is not asked again until the time is over."""
    with (
        running(replace(known, body='"break"'), tmp_path) as server,
        pytest.raises(ContenderError, match="the model is broken"),
    ):
        first_answer(server)


def test_an_error_under_load_is_no_measurement(known: Contender, tmp_path: Path) -> None:
    """A contender that errs only later is not measured by how quick its errors are."""
    with running(known, tmp_path) as server:
        first_answer(server)
        broken = replace(server, contender=replace(known, body='"break"'))
        with pytest.raises(ContenderError, match="the model is broken"):
            measures.one_round(broken, QUICK)


def test_the_command_names_the_broken_contender(tmp_path: Path) -> None:
    """The command ends with an error, not a traceback, when a contender cannot be started."""
    version = tmp_path / "churn" / "1"
    version.mkdir(parents=True)
    (version / "model.joblib").write_text("not a model")
    (version / "golden.jsonl").write_text('{"instance": {}}\n')
    done = run("--store", tmp_path.as_uri(), "--contender", "naive")
    assert done.returncode == 1
    assert "Error: naive:" in done.stderr
    assert "joblib" in done.stderr


def test_nothing_is_left_running(known: Contender, tmp_path: Path) -> None:
    """The worker, too, is gone when a contender is left, by an error or not."""
    with pytest.raises(KeyboardInterrupt), running(known, tmp_path) as server:
        first_answer(server)
        raise KeyboardInterrupt
    end = time.perf_counter() + 5
    assert attempt(server.port, client.post(known.path, known.body), end) is None


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", 1, id="incomplete head"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", 3, id="incomplete body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length:2\r\nX: y\r\n\r\nab", 0, id="complete"),
    ],
)
def test_missing_bytes(answer: bytes, missing: int) -> None:
    """An answer is complete when as many bytes as it announced follow its head."""
    assert client.missing_bytes(answer) == missing


def test_missing_records_are_no_measurement(known: Contender, tmp_path: Path) -> None:
    """A contender that prints fewer records than it answers requests has no own time."""
    with running(known, tmp_path) as server:
        first_answer(server)
        with pytest.raises(ContenderError, match="expected 2 prediction records on stdout, found 1"):
            measures.predict_us(server, 0, 2)


def test_an_answer_without_an_end_is_refused() -> None:
    """An answer whose end the client cannot know is an error, not a wrong time; a chunked one has its last chunk."""
    with pytest.raises(ValueError, match="Content-Length"):
        client.missing_bytes(b"HTTP/1.1 200 OK\r\n\r\n")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert client.missing_bytes(chunked + b"2\r\nok\r\n") == 1
    assert client.missing_bytes(chunked + b"2\r\nok\r\n0\r\n\r\n") == 0


@pytest.mark.long
def test_every_dialect_can_be_measured(trained: Callable[[str], Any], tmp_path: Path) -> None:
    """A short turn of each dialect gives a time of its own."""
    version = newest("reviews", trained("reviews").store.url, tmp_path)
    taken = dialects.measure(version, rounds=1, requests=2, folder=tmp_path)
    assert set(taken) == {speaker.name for speaker in SPEAKERS}
    assert all(microseconds > 0 for microseconds in taken.values())


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100)])
def test_percentile(percent: int, value: int) -> None:
    """The 99th percentile of 1 to 100 is 99."""
    assert measures.percentile(list(range(100, 0, -1)), percent) == value
