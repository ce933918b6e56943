"""Pages of a listing: an order, a limit, and a token from which the next page goes on."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tests.cloud.errors import invalid
from tests.cloud.schemas import Json

LARGEST = 1000
Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Page:
    """The values of one page, and the token of the next one if there is more."""

    values: list[Any]
    token: str | None


def cut(entries: Mapping[Key, Any], query: Mapping[str, Any]) -> Page:
    """Return the page that `pageToken` and `maxResults`, or `pageSize`, mean, in the order of the keys.

    A token names the last key it left behind, so that entries added or removed meanwhile shift nothing.
    """
    size = min(query.get("maxResults") or query.get("pageSize") or LARGEST, LARGEST)
    after = _key(query["pageToken"]) if query.get("pageToken") else None
    keys = (key for key in sorted(entries, key=_order) if after is None or _order(key) > _order(after))
    chosen = list(islice(keys, size + 1))
    token = _token(chosen[size - 1]) if len(chosen) > size else None
    return Page([entries[key] for key in chosen[:size]], token)


def answer(kind: str, page: Page, **lists: list[Any]) -> Json:
    """Return a listing's JSON as the older APIs write it, which say what it is."""
    return {"kind": kind, **listing(page, **lists)}


def listing(page: Page, **lists: list[Any]) -> Json:
    """Return a listing's JSON: empty lists and a missing token are left out, as the services do."""
    token = {"nextPageToken": page.token} if page.token else {}
    return {**{name: items for name, items in lists.items() if items}, **token}


def _order(key: Key) -> tuple[bytes | int, ...]:
    return tuple(part.encode() if isinstance(part, str) else part for part in key)


def _token(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _key(token: str) -> Key:
    try:
        return tuple(json.loads(base64.urlsafe_b64decode(token.encode())))
    except (binascii.Error, ValueError, TypeError):
        raise invalid("Invalid Value") from None
