"""A compiled model being built: the operations so far, the registers that they write, and the arrays that they hold."""

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from function.engines.numpy_engine import FORMAT, PROGRAM
from function.engines.operations.matrices import UNARY
from lifecycle.compiler.reasons import REASONS
from lifecycle.errors import LifecycleError

Arrays = Mapping[str, np.ndarray]
# By exact class and by method ("transform", "predict", ...): from the fitted estimator and what is known of its input
# to what is known of its output, adding operations to the program.
Converter = Callable[[Any, Any, "Program"], Any]
Converters = Mapping[type, Mapping[str, Converter]]


class NotCompiled(LifecycleError):
    """A part of a fitted pipeline has no exact compiled form; the message names the step and why."""


class Program:
    """A list of operations; adding the same one twice gives the same register."""

    def __init__(self, inputs: Sequence[str], converters: "Converters") -> None:
        self._inputs = list(inputs)
        self._converters = converters
        self._operations: list[dict[str, Any]] = []
        self._arrays: dict[str, np.ndarray] = {}
        self._known: dict[str, int] = {}

    def convert(self, estimator: Any, method: str, value: Any) -> Any:
        """Add what a method of a fitted estimator does with a value; raises NotCompiled naming the estimator."""
        converters = self._converters.get(type(estimator))  # by exact class: a subclass may do anything else
        name = type(estimator).__name__
        if converters is None:
            raise NotCompiled(f"{name}: {REASONS.get(name, 'this class is not compiled')}")
        if method not in converters:
            raise NotCompiled(f"{name}: {method} is not compiled")
        try:
            return converters[method](estimator, value, self)
        except NotCompiled as error:
            raise NotCompiled(f"{name}: {error}") from error
        except Exception as error:  # a converter met what it does not know, such as a sparse matrix for an array
            raise NotCompiled(f"{name}: {type(error).__name__}: {error}") from error

    def add(self, operation: str, *reads: int, arrays: Arrays | None = None, **parameters: Any) -> int:
        """Append an operation and return the register that it writes."""
        names = {key: self._keep(operation, key, array) for key, array in (arrays or {}).items()}
        step = {"operation": operation, "inputs": list(reads), "parameters": parameters, "arrays": names}
        key = json.dumps(step, sort_keys=True)
        if key not in self._known:
            self._known[key] = len(self._inputs) + len(self._operations)
            self._operations.append(step)
        return self._known[key]

    def comes_from(self, register: int, operations: Sequence[str]) -> bool:
        """Tell whether one of some operations had a part in what a register holds."""
        seen = {register}
        waiting = [register]
        while waiting:
            position = waiting.pop() - len(self._inputs)
            step = self._operations[position] if position >= 0 else {"operation": None, "inputs": []}
            if step["operation"] in operations:
                return True
            waiting += [read for read in step["inputs"] if read not in seen]
            seen.update(step["inputs"])
        return False

    def pack(self, methods: Mapping[str, int]) -> bytes:
        """Return model.npz."""
        program = {"format": FORMAT, "inputs": self._inputs, "operations": self._operations, "methods": dict(methods)}
        content = np.frombuffer(json.dumps(program).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **{PROGRAM: content}, **self._arrays)
        return file.getvalue()

    def _keep(self, operation: str, key: str, array: np.ndarray) -> str:
        array = np.ascontiguousarray(array)
        digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
        name = f"{operation}.{key}.{digest[:12]}"
        self._arrays[name] = array
        return name


def ufunc_name(function: Any) -> str:
    """Return the name of a unary ufunc that the `apply` operation knows; raises NotCompiled for another function."""
    for name, ufunc in UNARY.items():
        if function is ufunc:
            return name
    raise NotCompiled("calls a function that is no unary ufunc of NumPy")


def label(value: Any) -> Any:
    """Return a category or class as JSON holds it, NaN as None; raises NotCompiled where it cannot."""
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or is_nan(plain):
        return None
    if not isinstance(plain, str | int | float):
        raise NotCompiled(f"holds a {type(plain).__name__} as category or class")
    return plain


def is_nan(value: Any) -> bool:
    """Tell whether a value of any type is NaN."""
    return isinstance(value, float) and math.isnan(value)
