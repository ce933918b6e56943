"""Converters of what takes dictionaries of numbers and texts, what is missing left out of them."""

import numpy as np
from sklearn.feature_extraction import DictVectorizer, FeatureHasher

from function.contract import Feature
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.values import Matrix, Records, SparseMatrix, Value


def _vectorized(vectorizer: DictVectorizer, value: Value, program: Program) -> Matrix:
    if not isinstance(value, Records) or vectorizer.dtype != np.float64:
        raise NotCompiled("takes dictionaries and gives float64 numbers")
    places: list[int] = []
    parts = []
    for register, feature in value.table.columns:
        known = _outputs(vectorizer, feature)
        if known:
            places += known.values()
            parts.append(_part(register, feature, list(known), program))
    absent = sorted(set(range(len(vectorizer.vocabulary_))) - set(places))
    if absent or not parts:
        raise NotCompiled("knows names that no feature gives")
    order = {"indexes": np.argsort(places)}
    joined = program.add("concatenate", *parts)
    return Matrix(program.add("select", joined, arrays=order), len(places))


def _outputs(vectorizer: DictVectorizer, feature: Feature) -> dict[str, int]:
    """Return the outputs that a feature can fill: its own name for numbers, its name with each text else."""
    vocabulary = vectorizer.vocabulary_
    if feature.type in ("integer", "number", "boolean"):
        return {feature.name: vocabulary[feature.name]} if feature.name in vocabulary else {}
    if feature.type != "text":
        raise NotCompiled(f"takes {feature.name}, a {feature.type}")
    start = f"{feature.name}{vectorizer.separator}"
    return {name.removeprefix(start): place for name, place in vocabulary.items() if name.startswith(start)}


def _part(register: int, feature: Feature, known: list[str], program: Program) -> int:
    if feature.type != "text":
        matrix = program.add("numbers", register, dtype="f8")
        return program.add("impute", matrix, arrays={"statistics": np.zeros(1)})
    cells = program.add("gather", register)
    places, width = [list(range(len(known)))], len(known)
    return program.add("one_hot", cells, categories=[known], places=places, unknown=[width], width=width)


def _hashed(hasher: FeatureHasher, value: Value, program: Program) -> SparseMatrix:
    if not isinstance(value, Records) or hasher.input_type != "dict" or hasher.dtype != np.float64:
        raise NotCompiled("takes dictionaries and gives float64 numbers")
    if any(feature.type == "datetime" for _, feature in value.table.columns):
        raise NotCompiled("takes dates")
    width, signed = int(hasher.n_features), bool(hasher.alternate_sign)
    registers = [register for register, _ in value.table.columns]
    return SparseMatrix(
        program.add("hash_records", *registers, names=value.table.names, width=width, signed=signed), width
    )


CONVERTERS: Converters = {DictVectorizer: {"transform": _vectorized}, FeatureHasher: {"transform": _hashed}}
