"""The engine that runs a compiled model, model.npz: a list of operations on arrays. It needs NumPy and nothing else.

from function.engines.numpy_engine import read_compiled
engine = read_compiled(Path("model.npz").read_bytes())
print(engine.inputs, engine.methods)
engine.predict({"tenure": [3, 40], ...}, ["predict_proba"])  # a list for each input, None where a value is missing
"""

import importlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from function.engines.operations import MODULES, MOST_COLUMNS, CompiledInvalid, Parameters

if TYPE_CHECKING:  # the contract and validation need pydantic
    from function.contract import Method
    from function.engines import Outputs
    from function.validation import Columns

FORMAT = 1
PROGRAM = "program"  # the array that holds the list of operations, as UTF-8 JSON
KINDS = "biuf"  # of arrays: booleans, integers, floats
# Rows computed at once: what they need stays near the processor, and 100,000 rows need no more memory than these. They
# are fewer where a row takes much: a file that nobody vouches for may ask for little itself and for gigabytes a row.
BLOCK_ROWS = 1024
BLOCK_BYTES = 1 << 28
MOST_HEADER_BYTES = 1000  # of one array: a dtype and a shape need about a hundred

Run = Callable[..., Any]


class NumpyEngine:
    """A compiled model's operations, each with the registers that it reads; operation i writes the register after.

    Registers 0 to k-1 are the columns of the request, in the order of the program's inputs.
    """

    name = "numpy"

    def __init__(
        self,
        inputs: Sequence[str],
        steps: Sequence[tuple[Run, list[int]]],
        methods: Mapping[str, int],
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        self._inputs = inputs
        self._arrays = arrays
        self._steps = steps
        self._methods = methods
        self._schedules: dict[tuple[str, ...], list[tuple[Run, list[int], int]]] = {}
        self._block_rows: dict[tuple[str, ...], int] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that it takes."""
        return tuple(self._inputs)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the fitted pipeline that were compiled."""
        return tuple(self._methods)

    def thresholds(self) -> list[float]:
        """Return every number that trees and bins compare with, sorted: what a proof tries values beside."""
        compared = ("leaves.threshold.", "bins.edges.")
        found = [array.ravel() for name, array in self._arrays.items() if name.startswith(compared)]
        thresholds: list[float] = np.unique(np.concatenate([*found, np.empty(0)])).tolist()
        return thresholds

    def predict(self, columns: "Columns", methods: "Sequence[Method]") -> "Outputs":
        """Return what the fitted pipeline's own methods would give, within the proof's tolerance.

        `columns` holds a list for each of the inputs, None where a value is missing. Nothing is validated; raises
        ValueError where a column is missing, and what an operation raises on values that it refuses.
        """
        asked = tuple(methods)
        try:
            inputs = [columns[name] for name in self._inputs]
        except KeyError:
            raise ValueError(f"columns missing: {[name for name in self._inputs if name not in columns]}") from None
        count = len(inputs[0])
        with np.errstate(all="ignore"):  # overflow and NaN are results here, as they are in scikit-learn
            if count == 1:
                return self._run(inputs, asked)
            step = self._block_rows.get(asked) or self._measure(inputs, asked)
            if count <= step:
                return self._run(inputs, asked)
            outputs: Outputs = {method: [] for method in asked}
            for start in range(0, count, step):
                block = self._run([values[start : start + step] for values in inputs], asked)
                for method, rows in block.items():
                    outputs[method] += rows
            return outputs

    def _measure(self, inputs: list[Any], methods: tuple[str, ...]) -> int:
        """Return how many rows are computed at once, by what the first one takes."""
        registers = self._registers([values[:1] for values in inputs], methods)
        row_bytes = sum(map(_bytes, registers[len(inputs) :]))
        rows = self._block_rows[methods] = min(BLOCK_ROWS, max(1, BLOCK_BYTES // max(1, row_bytes)))
        return rows

    def _run(self, inputs: list[Any], methods: tuple[str, ...]) -> "Outputs":
        """Return the outputs of one block of rows."""
        registers = self._registers(inputs, methods)
        return {method: _plain(registers[self._methods[method]]) for method in methods}  # type: ignore[misc]

    def _registers(self, inputs: list[Any], methods: tuple[str, ...]) -> list[Any]:
        """Return every register after the steps that some methods need."""
        schedule = self._schedules.get(methods)
        if schedule is None:
            schedule = self._schedules[methods] = self._schedule(methods)
        registers = [*inputs, *[None] * len(self._steps)]
        for run, reads, writes in schedule:
            registers[writes] = run(*[registers[read] for read in reads])
        return registers

    def _schedule(self, methods: tuple[str, ...]) -> list[tuple[Run, list[int], int]]:
        """Return the steps that some methods need, in their order."""
        first = len(self._inputs)
        needed = {self._methods[method] for method in methods}
        schedule = []
        for register in range(first + len(self._steps) - 1, first - 1, -1):
            if register in needed:
                run, reads = self._steps[register - first]
                needed.update(reads)
                schedule.append((run, reads, register))
        return schedule[::-1]


def read_compiled(content: bytes) -> NumpyEngine:
    """Return the engine of a model.npz; raises CompiledInvalid for anything that is none.

    Nothing in it is code: arrays of numbers, and names of operations that stand in `operations/`.
    """
    arrays = _read_arrays(content)
    try:
        program = json.loads(bytes(arrays.pop(PROGRAM)))
        return _engine(program, arrays)
    except CompiledInvalid:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise CompiledInvalid(f"the program is none: {type(error).__name__}: {str(error)[:200]}") from error


def _engine(program: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> NumpyEngine:
    if program["format"] != FORMAT:
        raise CompiledInvalid(f"format {FORMAT} expected, found {program['format']!r}")
    inputs = [str(name) for name in program["inputs"]]
    steps = []
    for position, step in enumerate(program["operations"]):
        reads = _registers(step["inputs"], len(inputs) + position)
        steps.append((_operation(step, arrays), reads))
    names = list(program["methods"])
    registers = _registers([program["methods"][name] for name in names], len(inputs) + len(steps))
    return NumpyEngine(inputs, steps, dict(zip(names, registers, strict=True)), arrays)


def _operation(step: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Run:
    name = step["operation"]
    if name not in MODULES:
        raise CompiledInvalid(f"there is no operation {name!r}")
    module = importlib.import_module(f"function.engines.operations.{MODULES[name]}")
    parameters = Parameters(name, step["parameters"], {key: arrays[array] for key, array in step["arrays"].items()})
    run: Run = getattr(module, name)(parameters)
    return run


def _registers(numbers: Any, count: int) -> list[int]:
    if not all(type(number) is int and 0 <= number < count for number in numbers):
        raise CompiledInvalid(f"registers below {count} expected, found {numbers!r}")
    return list(numbers)


def _read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an uncompressed .npz: nothing may take more memory than its bytes do."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise CompiledInvalid("an uncompressed archive expected")
            if sum(member.file_size for member in members) > len(content):
                raise CompiledInvalid("the archive claims to be larger than it is")
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except CompiledInvalid:
        raise
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError, SyntaxError) as error:
        raise CompiledInvalid(f"the archive cannot be read: {error}") from error


def _array(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise CompiledInvalid("arrays of NumPy's format 1.0 expected")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MOST_HEADER_BYTES)
    if dtype.kind not in KINDS or fortran:
        raise CompiledInvalid(f"arrays of numbers in C order expected, found {dtype}")
    array = np.frombuffer(content, dtype, offset=stream.tell())
    if min(shape, default=0) < 0 or array.size != np.prod(shape, dtype=object):
        raise CompiledInvalid(f"{array.size} numbers do not have the shape {shape}")
    if max(shape, default=0) > max(array.size, MOST_COLUMNS):  # an operation would make something of so many rows
        raise CompiledInvalid(f"an array without numbers has the shape {shape}")
    return array.reshape(shape)


def _bytes(value: Any) -> int:
    """Return how much memory an array takes, or a tuple of arrays such as a sparse matrix."""
    return sum(map(_bytes, value)) if isinstance(value, tuple) else getattr(value, "nbytes", 0)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
