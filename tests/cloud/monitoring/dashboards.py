"""Dashboards: one layout, and tiles that fit it."""

from __future__ import annotations

import uuid

from tests.cloud.collection import Change, Collection
from tests.cloud.discovery import Call
from tests.cloud.errors import invalid
from tests.cloud.schemas import Json

DASHBOARDS = "monitoring.projects.dashboards"
LAYOUTS = ("columnLayout", "gridLayout", "mosaicLayout", "rowLayout")
MOST_COLUMNS = 48


def _id(call: Call) -> str:
    return (call.body.get("name") or "").rpartition("/")[2] or str(uuid.uuid4())


def _check(new: Json, change: Change) -> None:
    if not new.get("displayName"):
        raise invalid("Field display_name is required.")
    if sum(name in new for name in LAYOUTS) > 1:
        raise invalid("A dashboard has one layout.")
    if new.get("mosaicLayout"):
        _check_tiles(new["mosaicLayout"])


def _check_tiles(layout: Json) -> None:
    columns = layout.get("columns") or 0
    if not 1 <= columns <= MOST_COLUMNS:
        raise invalid(f"Field mosaicLayout.columns must be from 1 to {MOST_COLUMNS}, not {columns}.")
    taken: dict[tuple[int, int], int] = {}
    for index, tile in enumerate(layout.get("tiles") or []):
        for place in _places(tile, columns, index):
            if place in taken:
                raise invalid(f"Field mosaicLayout.tiles[{index}] overlaps tile {taken[place]}.")
            taken[place] = index


def _places(tile: Json, columns: int, index: int) -> list[tuple[int, int]]:
    left, top, width, height = (tile.get(name) or 0 for name in ("xPos", "yPos", "width", "height"))
    if width < 1 or height < 1 or left < 0 or top < 0 or left + width > columns:
        raise invalid(f"Field mosaicLayout.tiles[{index}] does not fit {columns} columns.")
    return [(column, row) for column in range(left, left + width) for row in range(top, top + height)]


def _complete(new: Json, change: Change) -> Json:
    return {**new, "name": change.name.replace(f"projects/{change.project.id}/", f"projects/{change.project.number}/")}


COLLECTION = Collection(methods=DASHBOARDS, new_id=_id, check=_check, complete=_complete)
