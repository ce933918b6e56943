"""What Cloud Monitoring answers about time series: timeSeries.list, and Prometheus' own API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cloud import pages
from tests.cloud.discovery import Call
from tests.cloud.errors import unimplemented
from tests.cloud.instants import read_duration
from tests.cloud.messages import Response, json_response
from tests.cloud.monitoring import promql, query
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import Behaviour
from tests.cloud.signals import Signals, no_prometheus, read_moment

PROMETHEUS = "monitoring.projects.location.prometheus.api.v1."
TIME_SERIES = "monitoring.projects.timeSeries.list"


def time_series(signals: Signals) -> dict[str, Behaviour]:
    """Return what answers the methods of v3, by their discovery ids."""
    return {TIME_SERIES: lambda _, call: _list(signals, call)}


def prometheus(signals: Signals) -> dict[str, Behaviour]:
    """Return what answers the methods of v1, by their discovery ids."""
    return {
        f"{PROMETHEUS}query": _promql(signals, _query),
        f"{PROMETHEUS}query_range": _promql(signals, _query_range),
    }


def _list(signals: Signals, call: Call) -> Json:
    if call.query.get("orderBy"):
        raise unimplemented(f"orderBy of {call.method.id}")
    found = query.list_time_series(signals.series, call.query)
    page = pages.cut({(index,): one for index, one in enumerate(found)}, call.query)
    return pages.listing(page, timeSeries=page.values)


def _promql(signals: Signals, ask: Callable[[promql.Engine, Json, float], Any]) -> Behaviour:
    def answer(_: Project, call: Call) -> Response:
        end = read_moment(call.body.get("end") or call.body.get("time"), signals.now())
        try:
            with promql.engine(signals.series.all(), end) as engine:
                return json_response({"status": "success", "data": ask(engine, call.body, end)})
        except promql.NoPrometheusError as missing:
            raise no_prometheus(missing) from None

    return answer


def _query(engine: promql.Engine, body: Json, at: float) -> Any:
    return engine.query(body.get("query", ""), at)


def _query_range(engine: promql.Engine, body: Json, end: float) -> Any:
    step = body.get("step", "60s")
    seconds = float(step) if step.replace(".", "").isdigit() else read_duration(step)
    return engine.query_range(body.get("query", ""), read_moment(body.get("start"), end), end, seconds)
