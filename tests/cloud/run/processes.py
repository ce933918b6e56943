"""What processes use together, and who descends from whom, as /proc tells it; it knows nothing of Cloud Run."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
Tree = Mapping[int, list[int]]  # the children of each process


@dataclass(frozen=True)
class Usage:
    """What processes have used, from their start to now or to their end."""

    cpu_seconds: float
    rss_bytes: int


def read_tree() -> Tree:
    """Return the children of every process on this machine; takes milliseconds."""
    tree: defaultdict[int, list[int]] = defaultdict(list)
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                tree[int(_status(int(entry.name))[1])].append(int(entry.name))
    return tree


def descendants(pid: int, tree: Tree) -> tuple[int, ...]:
    """Return the processes below one, itself not among them."""
    children = tree.get(pid, [])
    return tuple(children) + tuple(one for child in children for one in descendants(child, tree))


def usage(pids: Iterable[int]) -> Usage:
    """Return what processes use together, pages that they share counted once; those that have ended use nothing."""
    ticks = own = shared = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            ticks += sum(map(int, _status(pid)[11:15]))
            resident, common = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
            own, shared = own + resident - common, max(shared, common)
    return Usage(ticks / TICKS_PER_SECOND, (own + shared) * PAGE_BYTES)


def group_of(pid: int) -> int | None:
    """Return a process's group, None where it has ended."""
    with contextlib.suppress(OSError):
        return int(_status(pid)[2])
    return None


def _status(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, which may hold anything: state, parent, group ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
