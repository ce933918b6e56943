"""The real command in a process of its own: where it starts, what it loads, how it ends."""

import concurrent.futures
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.server import ROOT, Server
from tests.test_endpoint import GOOD, error


def test_the_command_starts_from_any_folder(server: Server, tmp_path: Path) -> None:
    """The framework finds the function by its path, whatever the working directory is."""
    answer = server.client.post("/predict", json={"instances": [GOOD]}).json()
    assert answer["model"] == "binary"


def test_a_hundred_concurrent_first_requests_cause_one_load(environment: dict[str, str], tmp_path: Path) -> None:
    """Everyone who comes first waits for the same load and is answered."""
    with Server(environment, tmp_path) as server, concurrent.futures.ThreadPoolExecutor(100) as threads:
        limits = httpx2.Limits(max_connections=100)
        with httpx2.Client(base_url=server.url, timeout=60, limits=limits, trust_env=False) as client:
            answers = list(threads.map(lambda _: client.post("/predict", json=GOOD), range(100)))
        assert [answer.status_code for answer in answers] == [200] * 100
        assert len({answer.json()["prediction_ids"][0] for answer in answers}) == 100
        assert len(server.wait_for_records("prediction", 100)) == 100
        assert len(server.records("load")) == 1


def test_nothing_is_loaded_before_someone_asks(environment: dict[str, str], tmp_path: Path) -> None:
    """Starting costs no load; asking whether the model is ready causes it."""
    with Server(environment, tmp_path) as server:
        assert server.records() == []
        assert server.client.get("/health/ready").status_code == 200
        assert len(server.wait_for_records("load", 1)) == 1


def test_a_load_leaves_a_record_of_its_parts(server: Server) -> None:
    """The record of a load splits its time into import, fetch, verify, load and replay."""
    server.client.get("/health/ready")
    record = server.wait_for_records("load", 1)[0]
    parts = ["import_ms", "fetch_ms", "verify_ms", "load_ms", "replay_ms"]
    assert record["total_ms"] == pytest.approx(sum(record[part] for part in parts))
    assert (record["service"], record["revision"], record["version"]) == ("toy", "toy-00001", 1)


def test_sigterm_finishes_what_is_in_flight(environment: dict[str, str], tmp_path: Path) -> None:
    """A request whose body is still arriving when the process is asked to end is answered, then the process ends."""
    body = b'{"age": 40, "income": null, "city": "Bern", "member": true, "plan": "paid"}'
    server = Server(environment, tmp_path).__enter__()
    server.client.get("/health/ready")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:10])
        time.sleep(0.2)  # lets the request reach the handler
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # lets the server stop listening
        connection.sendall(body[10:])
        connection.settimeout(20)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert server.close() == 0


def test_a_client_that_goes_away_harms_nobody(server: Server) -> None:
    """A body that breaks off is recorded as the caller's mistake, and the server goes on."""
    before = len(server.records("rejection"))
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        time.sleep(0.1)
    record = server.wait_for_records("rejection", before + 1)[-1]
    assert (record["outcome"], record["status"]) == ("invalid_body", 400)
    assert server.client.get("/health/live").status_code == 200


@pytest.mark.parametrize("beginning", [b"", b"{"], ids=["nothing", "one byte"])
def test_a_body_that_never_arrives_is_given_up(beginning: bytes, environment: dict[str, str], tmp_path: Path) -> None:
    """Whoever sends too slowly, or nothing at all, gets a 408 and holds nothing any more."""
    hasty = {**environment, "BODY_TIMEOUT_SECONDS": "0.3"}
    with Server(hasty, tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n" + beginning)
        connection.settimeout(20)
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_an_offer_of_another_protocol_is_named_as_what_lost_the_body(server: Server) -> None:
    """Some clients offer HTTP/2 in clear text, where the HTTP parser stops; they are told so."""
    headers = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"}
    found = error(server.client.post("/predict", json=GOOD, headers=headers), 400, "invalid_body")
    assert "Upgrade" in found["message"]


def test_a_reader_that_lags_costs_one_timer_however_many_wait(environment: dict[str, str], tmp_path: Path) -> None:
    """While nobody reads stdout the process is idle between requests, after many as after few."""
    reading, writing = os.pipe()
    try:
        with Server(environment, tmp_path, stdout=writing) as server:
            idle = [_idle_cpu_seconds(server, requests) for requests in (300, 3000)]
        assert idle[1] < idle[0] + 0.2
    finally:
        os.close(reading)
        os.close(writing)


def _idle_cpu_seconds(server: Server, requests: int) -> float:
    """Return the processor time of one second of idleness after some requests."""
    for _ in range(requests):
        server.client.post("/predict", content=b"{")
    before = cpu_seconds(server.process.pid)
    time.sleep(1)
    return cpu_seconds(server.process.pid) - before


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its children took."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


@pytest.mark.parametrize("chunked", [False, True], ids=["with-length", "chunked"])
def test_fifty_megabytes_are_refused_and_the_connection_lives(server: Server, chunked: bool) -> None:
    """A body beyond the limit is a 413 that costs no memory, and the next request on the connection is answered."""
    piece = b" " * 1_000_000
    content = (piece for _ in range(50)) if chunked else piece * 50
    before = _resident_mb(server)
    error(server.client.post("/predict", content=content), 413, "body_too_large")
    assert _resident_mb(server) - before < 80
    assert server.client.get("/health/live").status_code == 200


def test_a_hundred_thousand_instances_and_one_are_refused(server: Server) -> None:
    """More instances than one request may hold are a 413, said before any is looked at."""
    body = b'{"instances": [' + b"0," * 100_000 + b"0]}"
    error(server.client.post("/predict", content=body), 413, "too_many_instances")


def test_overload_is_refused_with_retry_after(environment: dict[str, str], tmp_path: Path) -> None:
    """Beyond the limit of requests under way, the next one gets a 429 at once instead of a place in a queue."""
    with Server({**environment, "MAX_IN_FLIGHT": "2"}, tmp_path) as server:
        server.client.get("/health/ready")
        with contextlib.ExitStack() as slow:
            for _ in range(2):
                connection = slow.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
                # An answer on a later connection shows that the loop has taken what came on earlier ones.
                server.client.get("/health/live")
            response = server.client.post("/predict", json=GOOD)
            error(response, 429, "overloaded")
            assert int(response.headers["retry-after"]) >= 1
            assert server.client.get("/health/live").status_code == 200


def test_bodies_under_way_share_one_budget(environment: dict[str, str], tmp_path: Path) -> None:
    """While large bodies are held, another one gets a 429 instead of more memory; when they are gone, it is read."""
    small = {**environment, "MAX_BODY_MB": "1", "MAX_IN_FLIGHT_MB": "1"}
    with Server(small, tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b" " * 900_000)
            time.sleep(0.5)  # lets the server take it
            error(server.client.post("/predict", content=b" " * 300_000), 429, "overloaded")
        server.wait_for_records("rejection", 2)
        error(server.client.post("/predict", content=b" " * 300_000), 400, "malformed_json")


def test_one_worker_runs_uvloop_and_httptools(server: Server) -> None:
    """The model is loaded by one process, with the fast loop and parser in it."""
    (worker,) = _workers(server)
    maps = Path(f"/proc/{worker}/maps").read_text()
    assert "uvloop" in maps
    assert "httptools" in maps


def test_the_environment_is_checked_whole_before_serving(tmp_path: Path) -> None:
    """A process whose environment cannot be used ends at once and names every variable at fault."""
    environment = {**os.environ, "MODEL_STORE": "s3://bucket", "MAX_INSTANCES": "many", "MAX_BODY_MB": "-1"}
    command = [str(Path(sys.executable).with_name("functions-framework")), "--target", "predict", "--asgi"]
    command += ["--source", str(ROOT / "function" / "main.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[0] == "The environment cannot be used:"
    assert [line.split(":")[0] for line in lines[1:]] == ["MODEL_STORE", "MAX_BODY_MB", "MAX_INSTANCES"]


def _workers(server: Server) -> list[str]:
    return Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()


def _resident_mb(server: Server) -> float:
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _workers(server)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6
