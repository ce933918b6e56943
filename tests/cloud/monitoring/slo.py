"""Service level objectives: what is good, what is bad, and how fast the error budget burns.

Request-based SLIs only. The cut of a distribution is made on the values themselves, where Google has the buckets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.cloud.errors import invalid, not_found, unimplemented
from tests.cloud.instants import read_duration
from tests.cloud.monitoring.query import select
from tests.cloud.monitoring.series import Series, SeriesStore
from tests.cloud.schemas import Json

# The look-back may be written "3600s", 60m or 3600.
BURN_RATE = re.compile(r'select_slo_burn_rate\(\s*"?([^",\s]+)"?\s*(?:,\s*"?([\w.]+)"?\s*)?\)')
SERVICE_FILTERS = frozenset({"goodServiceFilter", "badServiceFilter", "totalServiceFilter"})


@dataclass(frozen=True)
class Counted:
    """How much service there was in a window, and how much of it was good."""

    good: float
    total: float

    @property
    def bad(self) -> float:
        """What was not good."""
        return self.total - self.good


def count(slo: Json, store: SeriesStore, start: float, end: float) -> Counted:
    """Return the good and the total service of an SLI over (start, end], in seconds since 1970.

    Raises CloudError: 400 where the SLI is none, 501 where it is not request-based.
    """
    indicator = slo.get("serviceLevelIndicator", {})
    if "requestBased" not in indicator:
        raise unimplemented(f"the service level indicator {', '.join(indicator) or 'of an SLO without one'}")
    request_based = indicator["requestBased"]
    if "goodTotalRatio" in request_based:
        return _ratio(request_based["goodTotalRatio"], store, start, end)
    if "distributionCut" in request_based:
        return _cut(request_based["distributionCut"], store, start, end)
    raise invalid("requestBased must have goodTotalRatio or distributionCut.")


def burn_rate(slo: Json, store: SeriesStore, seconds: float, end: float) -> float | None:
    """Return how many times faster than allowed the error budget went over a window; None without any service."""
    counted = count(slo, store, end - seconds, end)
    if not counted.total:
        return None
    return counted.bad / counted.total / (1 - slo["goal"])


def performance(slo: Json, store: SeriesStore, end: float) -> float | None:
    """Return the share of good service over the SLO's rolling period; None without any service.

    Raises CloudError: 501 for calendar periods.
    """
    if "rollingPeriod" not in slo:
        raise unimplemented("calendar periods of service level objectives")
    counted = count(slo, store, end - read_duration(slo["rollingPeriod"]), end)
    return counted.good / counted.total if counted.total else None


def is_burn_rate(text: str) -> bool:
    """Tell whether a filter asks for a burn rate."""
    return text.strip().startswith("select_slo_burn_rate")


def selected_burn_rate(
    text: str, slos: Mapping[str, Json], store: SeriesStore
) -> tuple[str, Callable[[float], float | None]]:
    """Return the SLO that a filter select_slo_burn_rate("NAME", "3600s") names, and its burn rate at a time.

    Raises CloudError: 400 for a malformed filter, 404 where there is no such SLO.
    """
    found = BURN_RATE.fullmatch(text.strip())
    if found is None:
        raise invalid(f'Field filter had an invalid value of "{text}": Could not parse filter "{text}"')
    name, window = found[1], _window(found[2])
    if name not in slos:
        raise not_found(f"Could not find service level objective {name}.")
    return name, lambda at: burn_rate(slos[name], store, window, at)


def _window(text: str | None) -> float:
    if text is None:
        raise unimplemented("select_slo_burn_rate without a look-back")
    try:
        return read_duration(text if not text.isdigit() else f"{text}s")
    except ValueError:
        raise invalid(f'Field filter had an invalid value: "{text}" is no duration.') from None


def _ratio(ratio: Json, store: SeriesStore, start: float, end: float) -> Counted:
    given = {name: text for name, text in ratio.items() if text}
    if len(given) != 2 or not SERVICE_FILTERS.issuperset(given):
        raise invalid(
            "goodTotalRatio must have exactly two of goodServiceFilter, badServiceFilter, totalServiceFilter."
        )
    sums = {name: _sum(select(store, text), start, end) for name, text in given.items()}
    good, bad, total = (sums.get(name) for name in ("goodServiceFilter", "badServiceFilter", "totalServiceFilter"))
    if total is None:
        return Counted(good or 0, (good or 0) + (bad or 0))
    return Counted(total - (bad or 0) if good is None else good, total)


def _sum(series: list[Series], start: float, end: float) -> float:
    if any(one.descriptor.value_type == "DISTRIBUTION" or one.descriptor.kind == "GAUGE" for one in series):
        raise invalid("The filters of goodTotalRatio must select metrics of kind DELTA that hold numbers.")
    return sum(value for one in series for _, value in one.between(start, end))


def _cut(cut: Json, store: SeriesStore, start: float, end: float) -> Counted:
    series = select(store, cut["distributionFilter"])
    if any(one.descriptor.value_type != "DISTRIBUTION" for one in series):
        raise invalid("distributionFilter must select a metric whose values are distributions.")
    low, high = cut["range"].get("min", float("-inf")), cut["range"].get("max", float("inf"))
    values = [value for one in series for _, value in one.between(start, end)]
    return Counted(sum(low <= value < high for value in values), len(values))
