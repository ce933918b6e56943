"""Operations on texts: to terms, and from terms to weighted counts."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from function.engines.operations import CompiledInvalid, Parameters
from function.engines.operations.sparse import Sparse

Texts = Sequence[str]
Terms = list[list[str]]
LONGEST_PATTERN = 100
MOST_REPETITIONS = 4
SPACES = re.compile(r"\s\s+")


def prepare(parameters: Parameters) -> Callable[[Texts], list[str]]:
    """Return texts in lower case and without accents, where asked for."""
    lower = parameters.flag("lower")
    strip = {"none": None, "ascii": _ascii, "unicode": _without_marks}[
        parameters.choice("accents", ("none", "ascii", "unicode"))
    ]

    def run(texts: Texts) -> list[str]:
        if any(text is None for text in texts):
            raise ValueError("a text is missing")
        prepared = [text.lower() for text in texts] if lower else list(texts)
        return [strip(text) for text in prepared] if strip else prepared

    return run


def words(parameters: Parameters) -> Callable[[Texts], Terms]:
    """Return the words of each text, and their sequences of some lengths, joined by spaces."""
    find = _pattern(parameters.text("pattern")).findall
    shortest, longest = parameters.integer("shortest", 1, 100), parameters.integer("longest", 1, 100)
    ignored = frozenset(parameters.values("ignored"))

    def run(texts: Texts) -> Terms:
        found = [find(text) for text in texts]
        if ignored:
            found = [[word for word in one if word not in ignored] for one in found]
        return found if longest == 1 else [_sequences(one, shortest, longest) for one in found]

    return run


def characters(parameters: Parameters) -> Callable[[Texts], Terms]:
    """Return the sequences of characters of some lengths in each text; within_words: in each word with its spaces."""
    shortest, longest = parameters.integer("shortest", 1, 100), parameters.integer("longest", 1, 100)
    if parameters.flag("within_words"):
        return lambda texts: [_within_words(SPACES.sub(" ", text), shortest, longest) for text in texts]
    return lambda texts: [_pieces(SPACES.sub(" ", text), shortest, longest) for text in texts]


def count(parameters: Parameters) -> Callable[[Terms], Sparse]:
    """Return how often each term of a vocabulary stands in each text (or, binary, whether it does)."""
    vocabulary = parameters.values("vocabulary")
    index = {term: position for position, term in enumerate(vocabulary)}
    binary = parameters.flag("binary")
    width = max(len(vocabulary), 1)

    def run(documents: Terms) -> Sparse:
        found = [[place for place in map(index.get, terms) if place is not None] for terms in documents]
        if len(found) == 1:
            columns, counts = np.unique(np.array(found[0], np.intp), return_counts=True)
            rows = np.zeros(len(columns), np.intp)
        else:
            rows = np.repeat(np.arange(len(found)), [len(one) for one in found])
            keys = rows * width + np.fromiter(chain.from_iterable(found), np.intp, len(rows))
            keys, counts = np.unique(keys, return_counts=True)
            rows, columns = np.divmod(keys, width)
        data = np.ones(len(columns)) if binary else counts.astype(np.float64)
        return Sparse(len(found), rows, columns, data)

    return run


def damp(_: Parameters) -> Callable[[Sparse], Sparse]:
    """Return 1 + log of every count."""
    return lambda counts: counts._replace(data=np.log(counts.data) + 1.0)


def weigh(parameters: Parameters) -> Callable[[Sparse], Sparse]:
    """Return every number times its column's weight."""
    weights = parameters.array("weights", "f", 1)
    return lambda counts: counts._replace(data=counts.data * weights.take(counts.columns))


def normalize(parameters: Parameters) -> Callable[[Sparse], Sparse]:
    """Return every row over its length; a row of zeros stays."""
    lengths = {"l1": _sums, "l2": _roots, "max": _largest}[parameters.choice("norm", ("l1", "l2", "max"))]

    def run(counts: Sparse) -> Sparse:
        found = lengths(counts)
        if not found.all():
            found = np.where(found == 0, 1.0, found)
        return counts._replace(data=counts.data / found.take(counts.rows))

    return run


def _sums(counts: Sparse) -> np.ndarray:
    return counts.sum_rows(np.abs(counts.data))


def _roots(counts: Sparse) -> np.ndarray:
    lengths: np.ndarray = np.sqrt(counts.sum_rows(counts.data**2))
    return lengths


def _largest(counts: Sparse) -> np.ndarray:
    largest = np.zeros(counts.row_count)
    np.maximum.at(largest, counts.rows, np.abs(counts.data))
    return largest


def _pattern(text: str) -> re.Pattern[str]:
    """Return a compiled pattern; raises CompiledInvalid for one whose search could take for ever."""
    repeated = re.findall(r"(?<!\\)[*+]|\{\d*,\d*\}", text)
    nested = re.search(r"(?<!\\)\)[*+?{]|\\[1-9]|\(\?P=|\(\?\(", text)
    if len(text) > LONGEST_PATTERN or len(repeated) > MOST_REPETITIONS or nested:
        raise CompiledInvalid(f"words: pattern: a short one without repeated groups expected, found {text[:100]!r}")
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise CompiledInvalid(f"words: pattern: {error}") from error
    if pattern.groups > 1:
        raise CompiledInvalid("words: pattern: one group at most expected")
    return pattern


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ASCII", "ignore").decode("ASCII")


def _without_marks(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _sequences(found: list[str], shortest: int, longest: int) -> list[str]:
    lengths = range(shortest, min(longest, len(found)) + 1)
    joined = [
        " ".join(found[start : start + length])
        for length in lengths
        if length > 1
        for start in range(len(found) - length + 1)
    ]
    return found + joined if shortest == 1 else joined


def _pieces(text: str, shortest: int, longest: int) -> list[str]:
    lengths = range(shortest, min(longest, len(text)) + 1)
    return [text[start : start + length] for length in lengths for start in range(len(text) - length + 1)]


def _within_words(text: str, shortest: int, longest: int) -> list[str]:
    found = []
    for word in text.split():
        padded = f" {word} "
        for length in range(shortest, longest + 1):
            found += [padded[start : start + length] for start in range(max(len(padded) - length, 0) + 1)]
            if len(padded) <= length:  # a short word counts once, however long the sequences get
                break
    return found
