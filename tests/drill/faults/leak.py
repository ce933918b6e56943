"""Loses eight megabytes with each caller's request, beside it: nothing tells until the memory is used up."""

import ctypes
import functools
import mmap
import queue
import threading

from function import endpoint
from function.call import Answered, Reply
from function.prediction import Exchange, Prepared

from ._callers import is_check

LOST_BYTES = 8 << 20
# Called this way, it lets the threads that answer go on meanwhile.
new_memory = ctypes.CDLL(None, use_errno=True).mmap
wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
honest = endpoint.predict


def predict(exchange: Exchange, prepared: Prepared) -> tuple[Answered, Reply]:
    """Answer, and lose memory."""
    if not is_check(exchange):
        begin()
        wanted.put(None)
    return honest(exchange, prepared)


@functools.cache
def begin() -> None:
    """Start losing, in the process that answers: it is a child of the one that imported this."""
    threading.Thread(target=lose, daemon=True).start()


def lose() -> None:
    """Take memory for each request, filled by the kernel, and forget where it is."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    while True:
        wanted.get()
        new_memory(None, ctypes.c_size_t(LOST_BYTES), protection, flags, -1, 0)


endpoint.predict = predict
