"""PromQL over the project's time series, evaluated by the real Prometheus engine.

Series become samples under the names that Cloud Monitoring gives them in PromQL
(https://cloud.google.com/monitoring/promql/promql-mapping); promtool builds a database of them, and a Prometheus
process on loopback answers queries for as long as it is needed: half a second altogether.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import json
import math
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.cloud.errors import invalid, unimplemented
from tests.cloud.monitoring.series import RUN_METRICS, Series

PROGRAMS = ("promtool", "prometheus")
START_SECONDS = 20
BLOCK = "1500h"
STEP_SECONDS = 30
# A DELTA series exists only while points are written. Prometheus' rate() wants more than one minute of it, else it
# extrapolates: samples go on, unchanged, as long before the first and after the last increment as PromQL looks back.
MARGIN_SECONDS = 300
QUOTED_NAME = re.compile(r'\{\s*(?:"?__name__"?\s*=\s*)?"([^"/]+/[^"]+)"\s*(,|(?=\}))')
# Functions over the samples of a counter themselves: Cloud Monitoring's samples are not the double's.
OVER_SAMPLES = re.compile(r"\b(?:sum|avg|min|max|count|last|stddev|stdvar)_over_time\(\s*([A-Za-z_][\w:]*)")
PARSE_ERROR = re.compile(r"(?:\d+:\d+: )?parse error: .*")
USER_METRIC = "logging_googleapis_com:user_"
Sample = tuple[float, float]
Line = tuple[str, dict[str, str], list[Sample]]


class NoPrometheusError(Exception):
    """The prometheus package is not installed; callers skip what needs it."""


def metric_name(metric_type: str) -> str:
    """Return the name by which PromQL knows a metric: the first slash becomes a colon, the rest underscores."""
    domain, _, path = metric_type.partition("/")
    return f"{_word(domain)}:{_word(path)}"


def classic(query: str) -> str:
    """Return a query with quoted metric names, {"run.googleapis.com/request_count"}, spelled as older engines can read.

    Metric names inside the braces are Prometheus 3's; Debian's engine is older.
    """
    return QUOTED_NAME.sub(lambda found: f"{metric_name(found[1])}{{", query)


@lru_cache(maxsize=256)
def check_query(query: str) -> None:
    """Refuse what is no PromQL, where promtool is there to tell.

    Raises CloudError: 400 with Prometheus' own words.
    """
    if shutil.which("promtool") is None:
        return
    rules = {"groups": [{"name": "queries", "rules": [{"alert": "query", "expr": classic(query)}]}]}
    with tempfile.TemporaryDirectory(prefix="promql-") as folder:
        file = Path(folder) / "rules.yml"
        file.write_text(json.dumps(rules), encoding="utf-8")  # JSON is YAML, too
        done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        words = PARSE_ERROR.search(done.stdout + done.stderr)
        raise invalid(f"PromQL query is invalid: {words[0] if words else done.stderr.strip()}")


@contextlib.contextmanager
def engine(series: Iterable[Series], end: float) -> Iterator[Engine]:
    """Run Prometheus on samples of what the series hold up to a time.

    Raises NoPrometheusError: it is not installed.
    """
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise NoPrometheusError(f"{' and '.join(missing)} not on PATH; Debian's package is prometheus")
    with tempfile.TemporaryDirectory(prefix="promql-") as name:
        folder = Path(name)
        _build(folder, open_metrics(series, end))
        with _serve(folder) as url:
            yield Engine(url)


class Engine:
    """A running Prometheus; times are seconds since 1970."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, query: str, at: float) -> Any:
        """Return the `data` of an instant query: resultType and result.

        Raises CloudError: 400 for what is no PromQL, 501 for functions over the samples of a counter.
        """
        return self._ask("query", query=classic(query), time=repr(at))

    def query_range(self, query: str, start: float, end: float, step: float) -> Any:
        """Return the `data` of a query at each step.

        Raises CloudError: 400 for what is no PromQL, 501 for functions over the samples of a counter.
        """
        return self._ask("query_range", query=classic(query), start=repr(start), end=repr(end), step=repr(step))

    def _ask(self, method: str, **parameters: str) -> Any:
        _check(parameters["query"])
        body = urllib.parse.urlencode(parameters).encode()
        try:
            with _OPENER.open(f"{self._url}/api/v1/{method}", body, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise invalid(json.load(refusal)["error"]) from None


def _check(query: str) -> None:
    counters = {metric_name(one.type) for one in RUN_METRICS.values() if one.kind == "DELTA"}
    for name in OVER_SAMPLES.findall(query):
        if name.startswith(USER_METRIC) or re.sub("_(bucket|count|sum)$", "", name) in counters or name in counters:
            raise unimplemented(f"functions over the samples of {name}: use rate() or increase()")


def open_metrics(series: Iterable[Series], end: float) -> str:
    """Return samples of the series up to a time as OpenMetrics text."""
    # promtool wants each metric's samples together, and each series' in order of time
    lines = sorted((line for one in series for line in samples(one, end)), key=lambda line: line[0])
    return "".join([*itertools.chain.from_iterable(itertools.starmap(_written, lines)), "# EOF\n"])


def samples(series: Series, end: float) -> list[Line]:
    """Return the Prometheus series of a time series: one, or for a distribution its buckets, count and sum."""
    name, labels = metric_name(series.descriptor.type), _labels(series)
    if series.descriptor.kind == "GAUGE":
        return [(name, labels, [record for record in series.records if record[0] <= end])]
    times = _grid(series, end)
    if series.descriptor.value_type == "DISTRIBUTION":
        return _histogram(series, name, labels, times)
    return [(name, labels, _cumulative(series, times))]


def _grid(series: Series, end: float) -> list[float]:
    """Return the times at which a DELTA series has samples, counted back from the end so that windows fit exactly."""
    steps: set[int] = set()
    for at, _ in series.records:
        if at <= end:
            newest = max(0, math.ceil((end - at - MARGIN_SECONDS) / STEP_SECONDS))
            oldest = math.floor((end - at + MARGIN_SECONDS) / STEP_SECONDS)
            steps.update(range(newest, oldest + 1))
    return [end - step * STEP_SECONDS for step in sorted(steps, reverse=True)]


def _cumulative(series: Series, times: list[float]) -> list[Sample]:
    total, found, records = 0.0, [], iter([*series.records, (math.inf, 0.0)])
    at, value = next(records)
    for moment in times:
        while at <= moment:
            total += value
            at, value = next(records)
        found.append((moment, total))
    return found


def _histogram(series: Series, name: str, labels: dict[str, str], times: list[float]) -> list[Line]:
    if not times:
        return []
    grown = _grown(series, times)
    lines = [
        (f"{name}_bucket", {**labels, "le": _number(bound)}, _column(times, [counts[index] for counts, _ in grown]))
        for index, bound in enumerate((*series.descriptor.bounds, math.inf))
        if _is_told_apart(grown, index)
    ]
    return [
        *lines,
        (f"{name}_count", labels, _column(times, [counts[-1] for counts, _ in grown])),
        (f"{name}_sum", labels, _column(times, [total for _, total in grown])),
    ]


def _grown(series: Series, times: list[float]) -> list[tuple[list[int], float]]:
    """Return at each time how many values were below each bound, at last all of them, and their sum."""
    bounds, records = series.descriptor.bounds, iter([*series.records, (math.inf, 0.0)])
    counts, total, grown = [0] * (len(bounds) + 1), 0.0, []
    at, value = next(records)
    for moment in times:
        while at <= moment:
            counts[bisect.bisect_right(bounds, value)] += 1
            total += value
            at, value = next(records)
        grown.append((list(itertools.accumulate(counts)), total))
    return grown


def _is_told_apart(grown: list[tuple[list[int], float]], index: int) -> bool:
    """Tell whether a bucket, or one beside it, ever held something.

    The cumulative counts of the others repeat the one before, so leaving them out changes no quantile; latencies of
    Cloud Run have 136 buckets.
    """
    below = grown[-1][0] if grown else [0]
    before = below[index - 2] if index >= 2 else 0
    return index == len(below) - 1 or below[index + 1] > before


def _column(times: list[float], values: list[float]) -> list[Sample]:
    return list(zip(times, values, strict=True))


def _labels(series: Series) -> dict[str, str]:
    """Return the labels in PromQL; a metric's label that the resource has too is prefixed with metric_."""
    resource = dict(series.resource.labels)
    own = {f"metric_{name}" if name in resource else name: value for name, value in series.labels}
    labels = {_word(name): value for name, value in {**resource, **own}.items() if value}
    return {**labels, "monitored_resource": series.resource.type}


def _written(name: str, labels: dict[str, str], found: list[Sample]) -> list[str]:
    pairs = ",".join(f'{label}="{_escaped(labels[label])}"' for label in sorted(labels))
    series = f"{name}{{{pairs}}}"
    return [f"{series} {_number(value)} {at:.3f}\n" for at, value in found]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return "+Inf" if value == math.inf else repr(float(value))


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def _build(folder: Path, text: str) -> None:
    source = folder / "samples.om"
    source.write_text(text, encoding="utf-8")
    (folder / "prometheus.yml").write_text("global: {}\n", encoding="utf-8")
    # promtool reads the whole text once a block: blocks of two hours, its default, cost seconds.
    command = ["promtool", "tsdb", "create-blocks-from", f"--max-block-duration={BLOCK}", "openmetrics"]
    done = subprocess.run([*command, str(source), str(folder / "data")], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"promtool does not take the samples: {done.stderr[-500:]}")


@contextlib.contextmanager
def _serve(folder: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{_free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",  # tests place entries anywhere in time
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=error",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(process, url, folder)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            _OPENER.open(f"{url}/-/ready", timeout=5).close()
            return
        except OSError:
            time.sleep(0.01)  # nothing tells when it listens
    raise RuntimeError(f"Prometheus did not start: {(folder / 'log').read_text(errors='replace')[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Loopback is asked directly, whatever proxy the environment names.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
