"""Operations that give each term or name the column of its hash, so that no vocabulary is kept."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from struct import iter_unpack
from typing import Any

import numpy as np

from function.engines.operations import Parameters
from function.engines.operations.sparse import Sparse

WIDEST = np.iinfo(np.int32).max
MASK = 0xFFFFFFFF
# Of what texts repeat the hashes are kept: 65,536 of at most so many letters take 20 MB at most.
KEPT, LONGEST_KEPT = 1 << 16, 40


def hash_terms(parameters: Parameters) -> Callable[[Sequence[Sequence[str]]], Sparse]:
    """Return how often terms of each hash stand in each text; signed: terms count as 1 or -1, by their hash."""
    count = _counts(parameters)
    binary = parameters.flag("binary")

    def run(documents: Sequence[Sequence[str]]) -> Sparse:
        sizes = [len(terms) for terms in documents]
        counts = count(sizes, chain.from_iterable(documents), np.ones(sum(sizes)))
        # Binary, what cancelled out counts too, as it does in scikit-learn.
        return counts._replace(data=np.ones(len(counts.data))) if binary else counts

    return run


def hash_records(parameters: Parameters) -> Callable[..., Sparse]:
    """Return the numbers of each row's columns by the hash of their names; a text is the number 1 of "name=text"."""
    count = _counts(parameters)
    names = [str(name) for name in parameters.values("names")]

    def run(*columns: Sequence[Any]) -> Sparse:
        found = [list(_named(names, row)) for row in zip(*columns, strict=True)]
        numbers = np.array([number for row in found for _, number in row], np.float64)
        return count([len(row) for row in found], (name for row in found for name, _ in row), numbers)

    return run


def murmurhash3(text: str) -> int:
    """Return MurmurHash3_x86_32 of a text's UTF-8 with seed 0, as a signed number.

    Austin Appleby, https://github.com/aappleby/smhasher (public domain).
    """
    data = text.encode()
    whole = len(data) & ~3
    hashed = 0
    for (word,) in iter_unpack("<I", data[:whole]):
        hashed ^= _mixed(word)
        hashed = (hashed << 13 | hashed >> 19) & MASK
        hashed = (hashed * 5 + 0xE6546B64) & MASK
    hashed ^= _mixed(int.from_bytes(data[whole:], "little")) ^ len(data)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & MASK
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & MASK
    hashed ^= hashed >> 16
    return hashed - (hashed >> 31 << 32)


def _mixed(word: int) -> int:
    word = word * 0xCC9E2D51 & MASK
    return (word << 15 | word >> 17) * 0x1B873593 & MASK


_kept = lru_cache(KEPT)(murmurhash3)


def _counts(parameters: Parameters) -> Callable[[Sequence[int], Iterator[str], np.ndarray], Sparse]:
    """Return what adds up the numbers of names in each row, by the names' hashes."""
    width = parameters.integer("width", 1, WIDEST)
    signed = parameters.flag("signed")

    def count(sizes: Sequence[int], names: Iterator[str], numbers: np.ndarray) -> Sparse:
        hashes = [_kept(name) if len(name) <= LONGEST_KEPT else murmurhash3(name) for name in names]
        hashed = np.array(hashes, np.int64)
        if signed:
            numbers = np.where(hashed < 0, -numbers, numbers)
        keys = np.repeat(np.arange(len(sizes)), sizes) * width + np.abs(hashed) % width
        keys, places = np.unique(keys, return_inverse=True)
        data = np.bincount(places, numbers, minlength=len(keys))
        return Sparse(len(sizes), keys // width, keys % width, data)

    return count


def _named(names: Sequence[str], row: Sequence[Any]) -> Iterator[tuple[str, float]]:
    for name, value in zip(names, row, strict=True):
        if isinstance(value, str):
            yield f"{name}={value}", 1.0
        elif value is not None and value != 0:
            yield name, float(value)
