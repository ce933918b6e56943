"""When a schedule comes next: five fields as in crontab, read in a time zone; App Engine's English is not read."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.cloud.errors import invalid, unimplemented

MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {name.upper(): (number + 1) % 7 for number, name in enumerate(calendar.day_abbr)}
# Minute, hour, day of the month, month, day of the week (7 is Sunday too).
FIELDS = ((0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, MONTHS), (0, 7, WEEKDAYS))
PART = re.compile(r"(\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)
# 29 February of a certain weekday may be 40 years away.
FARTHEST_DAYS = 41 * 366


@dataclass(frozen=True)
class Schedule:
    """The values that each field allows."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool  # the field of days starts with *
    any_weekday: bool

    def has(self, day: date) -> bool:
        """Whether a day is one of the schedule's: where both fields of days are limited, either may allow it."""
        in_month = day.day in self.days
        in_week = day.isoweekday() % 7 in self.weekdays
        fits = in_month or in_week if not (self.any_day or self.any_weekday) else in_month and in_week
        return day.month in self.months and fits


def parse(text: str) -> Schedule:
    """Return a schedule.

    Raises CloudError: 400 for what is no schedule, 501 for one in English.
    """
    fields = text.split()
    if fields and fields[0].lower() in ("every", "1st", "first"):
        raise unimplemented(f"schedules in English, here {text!r}")
    if len(fields) != len(FIELDS):
        raise _bad(text)
    values = [_values(field, *rule, text) for field, rule in zip(fields, FIELDS, strict=True)]
    weekdays = frozenset(day % 7 for day in values[4])
    return Schedule(*values[:4], weekdays, fields[2].startswith("*"), fields[4].startswith("*"))


def next_run(text: str, zone: str, after: datetime) -> datetime | None:
    """Return the first time of a schedule after an instant, in UTC, or None where there is none.

    Hours that summer time skips are left out, and those that it repeats come once.

    Raises CloudError: 400 for what is no schedule or time zone.
    """
    schedule = parse(text)
    try:
        place = ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise invalid("Schedule or time zone is invalid.") from None
    local = after.astimezone(place)
    for day in _days(schedule, local.date()):
        for moment in _moments(schedule, day, place):
            if moment > after:
                return moment
    return None


def _days(schedule: Schedule, first: date) -> Iterator[date]:
    days = (first + timedelta(days=count) for count in range(FARTHEST_DAYS))
    return (day for day in days if schedule.has(day))


def _moments(schedule: Schedule, day: date, place: ZoneInfo) -> Iterator[datetime]:
    for hour in sorted(schedule.hours):
        for minute in sorted(schedule.minutes):
            wall = datetime(day.year, day.month, day.day, hour, minute)
            moment = wall.replace(tzinfo=place).astimezone(UTC)
            if moment.astimezone(place).replace(tzinfo=None) == wall:
                yield moment


def _values(field: str, least: int, most: int, names: dict[str, int], text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        match = PART.fullmatch(part)
        if match is None:
            raise _bad(text)
        whole, first, last, step = match.groups()
        if whole == "*":
            start, end = least, most
        else:
            start = _number(first, names, text)
            end = _number(last, names, text) if last else most if step else start
        if not (least <= start <= end <= most) or step == "0":
            raise _bad(text)
        found |= set(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(word: str, names: dict[str, int], text: str) -> int:
    if word.isdigit():
        return int(word)
    if word.upper() not in names:
        raise _bad(text)
    return names[word.upper()]


def _bad(text: str) -> Exception:
    return invalid(f"Schedule or time zone is invalid: {text!r}.")
