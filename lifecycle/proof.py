"""Compiles a fitted pipeline and proves the compiled model on data: both engines side by side, hard rows included."""

import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from function.contract import TOLERANCE, Manifest, Method, Proof, Signature
from function.engines import Engine
from function.engines.numpy_engine import NumpyEngine, read_compiled
from function.engines.sklearn_engine import SklearnEngine, load_pipeline
from function.errors import InvalidInstances
from function.model import read_golden
from function.validation import Columns, Instances, Validator
from lifecycle.compiler import compile_pipeline
from lifecycle.compiler.program import NotCompiled
from lifecycle.errors import VerifyFailed
from lifecycle.frames import raw_instances
from lifecycle.hard_rows import hard_rows

BLOCK_ROWS = 5_000
ALONE_ROWS = 40


class Unequal(Exception):
    """The engines differ; the message says where."""


def compile_and_prove(
    content: bytes, signature: Signature, frames: Sequence[pd.DataFrame]
) -> tuple[bytes | None, Proof]:
    """Return model.npz and its proof; None instead where a step is not compiled or the engines differ.

    `content` is model.joblib, `frames` the features of the training and test frames. What comes of it is never an
    error: the version is served by the sklearn engine then, and the proof says which step or which row is to blame.
    """
    pipeline = joblib.load(io.BytesIO(content))
    reference = SklearnEngine(pipeline, signature)  # sets every n_jobs to 1
    try:
        compiled = compile_pipeline(pipeline, signature)
    except NotCompiled as error:
        return None, Proof(verdict="not compiled", reason=str(error))
    except Exception as error:  # whatever a fitted pipeline holds is no reason to publish nothing
        return None, Proof(verdict="not compiled", reason=f"{type(error).__name__}: {error}")
    blocks = [block for frame in frames for block in _blocks(frame, signature)]
    proof = prove(reference, read_compiled(compiled), signature, blocks)
    return (compiled if proof.verdict == "holds" else None), proof


def prove_again(manifest: Manifest, fitted: bytes, compiled: bytes, golden: bytes) -> Proof:
    """Compare the engines of a published version on its golden examples and on hard rows; raises VerifyFailed.

    The training and test frames are not in the store, so `rows` is the number of golden examples.
    """
    signature = manifest.signature
    name = f"{manifest.model} {manifest.version}"
    try:
        pipeline = load_pipeline(fitted, manifest.libraries["scikit-learn"])
        engine = read_compiled(compiled)
    except ValueError as error:
        raise VerifyFailed(f"{name}: {error}") from error
    rows = [example.instance for example in read_golden(golden)]
    columns = Validator(signature).columns(Instances(rows, str))
    with threadpool_limits(limits=1):  # as when it was packaged
        proof = prove(SklearnEngine(pipeline, signature), engine, signature, [columns])
    if proof.verdict != "holds":
        raise VerifyFailed(f"{name}: the compiled model is not the fitted pipeline: {proof.reason}")
    return proof


def prove(reference: Engine, compiled: NumpyEngine, signature: Signature, blocks: Sequence[Columns]) -> Proof:
    """Compare both engines on blocks of columns, and on rows built from them to break the compiled model."""
    comparison = Comparison(reference, compiled, signature)
    hard = hard_rows(signature, blocks, compiled.thresholds())
    try:
        for block in blocks:
            comparison.hold(block)
        rows = comparison.rows
        for block in hard:
            comparison.hold(block)
        for block in [*blocks[:1], *hard]:
            comparison.hold_alone(block)
    except Unequal as error:
        return comparison.proof("fails", str(error), comparison.rows, 0)
    return comparison.proof("holds", None, rows, comparison.rows - rows)


class Comparison:
    """Two engines, and what was found when they were compared."""

    def __init__(self, reference: Engine, compiled: Engine, signature: Signature) -> None:
        self.rows = 0
        self._refused = 0
        self._largest: dict[Method, float] = dict.fromkeys(signature.methods, 0.0)
        self._reference, self._compiled, self._signature = reference, compiled, signature

    def proof(self, verdict: Any, reason: str | None, rows: int, hard: int) -> Proof:
        """Return what was found."""
        return Proof(
            verdict=verdict,
            reason=reason,
            rows=rows,
            hard_rows=hard,
            refused_rows=self._refused,
            largest_differences=self._largest,
        )

    def hold(self, columns: Columns) -> None:
        """Compare the engines' answers; raises Unequal. Both refusing a row is agreement."""
        count = _count(columns)
        expected, found = self._answers(self._reference, columns), self._answers(self._compiled, columns)
        if (expected is None or found is None) and count > 1:
            self.hold({name: values[: count // 2] for name, values in columns.items()})
            self.hold({name: values[count // 2 :] for name, values in columns.items()})
            return
        self.rows += count
        if expected is None and found is None:
            self._refused += 1
        elif expected is None or found is None:
            who = "compiled model" if found is None else "fitted pipeline"
            raise Unequal(f"the {who} alone refuses {_row(columns, 0)}")
        else:
            self._same(columns, expected, found)

    def hold_alone(self, columns: Columns) -> None:
        """Compare the compiled model's answers to rows alone with its answers to all; raises Unequal."""
        step = max(_count(columns) // ALONE_ROWS, 1)
        columns = {name: values[::step] for name, values in columns.items()}
        together = self._answers(self._compiled, columns)
        for position in range(_count(columns)) if together else ():
            row = {name: values[position : position + 1] for name, values in columns.items()}
            alone = self._answers(self._compiled, row)
            if alone is None:
                raise Unequal(f"the compiled model refuses only alone {_row(row, 0)}")
            self._same(row, {method: [values[position]] for method, values in (together or {}).items()}, alone)

    def _answers(self, engine: Engine, columns: Columns) -> dict[Method, Any] | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # hard rows overflow, as they should
                return engine.predict(columns, self._signature.methods)
        except Exception:
            return None

    def _same(self, columns: Columns, expected: dict[Method, Any], found: dict[Method, Any]) -> None:
        for method in self._signature.methods:
            row, difference = _differ(expected[method], found[method], self._signature.magnitudes[method])
            self._largest[method] = max(self._largest[method], min(difference, sys.float_info.max))
            if row is not None:
                answers = f"{expected[method][row]} by the fitted pipeline, {found[method][row]} compiled"
                raise Unequal(f"{method} gives {answers} for {_row(columns, row)}")


def _differ(expected: Any, found: Any, magnitudes: tuple[float, ...]) -> tuple[int | None, float]:
    """Return the first row that differs by more than the tolerance, and the largest difference as a share of scale."""
    ours, theirs = _floats(found), _floats(expected)
    if ours is None or theirs is None or ours.shape != theirs.shape:
        for row, (one, other) in enumerate(zip(expected, found, strict=True)):
            if repr(one) != repr(other):  # 1, 1.0 and True are equal, and other labels
                return row, 0.0
        return None, 0.0
    with np.errstate(invalid="ignore"):
        difference = np.where((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)), 0.0, np.abs(ours - theirs))
        scales = np.array(magnitudes) if len(magnitudes) == ours.shape[1] else np.zeros(ours.shape[1])
        scales = np.maximum(np.maximum(np.abs(ours), np.abs(theirs)), scales)
        # NaN beside NaN differs by 0 and allows NaN; infinity beside a number differs by infinity and allows it.
        wrong = (difference != 0) & ~((difference <= TOLERANCE * scales) & np.isfinite(difference))
        shares = np.divide(difference, scales, where=difference != 0, out=np.zeros_like(difference))
    rows = np.flatnonzero(wrong.any(axis=1))
    return (int(rows[0]) if len(rows) else None), float(np.nan_to_num(shares, nan=np.inf).max(initial=0.0))


def _floats(rows: Any) -> np.ndarray | None:
    """Return rows of floats as a matrix, or None for labels."""
    if isinstance(rows[0], list) and isinstance(
        rows[0][0], list
    ):  # several targets, of which one may have more classes
        rows = [[value for target in row for value in target] for row in rows]
    first = rows[0][0] if isinstance(rows[0], list) else rows[0]
    return np.array(rows, np.float64).reshape(len(rows), -1) if isinstance(first, float) else None


def _blocks(frame: pd.DataFrame, signature: Signature) -> Iterator[Columns]:
    """Yield the columns of those rows of a frame that callers may send."""
    validator = Validator(signature)
    for start in range(0, len(frame), BLOCK_ROWS):
        instances = raw_instances(frame.iloc[start : start + BLOCK_ROWS], signature.features)
        columns = _valid(validator, instances)
        if columns:
            yield columns


def _valid(validator: Validator, instances: list[dict[str, Any]]) -> Columns | None:
    try:
        return validator.columns(Instances(instances, str)) if instances else None
    except InvalidInstances:
        return _valid(validator, [one for one in instances if _is_valid(validator, one)])


def _is_valid(validator: Validator, instance: dict[str, Any]) -> bool:
    try:
        validator.columns(Instances([instance], str))
    except InvalidInstances:
        return False
    return True


def _count(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _row(columns: Columns, position: int) -> str:
    values = {name: column[position] for name, column in columns.items()}
    return f"the row {values}"[:500]
