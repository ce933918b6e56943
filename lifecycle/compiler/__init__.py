"""Compiles a fitted pipeline into model.npz: one converter for each estimator class, one module for each family."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from function.contract import Signature
from function.engines.numpy_engine import read_compiled
from function.engines.operations import CompiledInvalid
from lifecycle.compiler.program import Converter, NotCompiled, Program
from lifecycle.compiler.values import input_of

FAMILIES = (
    *("bayes", "compose", "decomposition", "distances", "ensembles", "imputation", "kernels", "linear", "neighbors"),
    *("networks", "outliers", "preprocessing", "processes", "records", "selection", "shapes", "text", "trees"),
)
CONVERTERS: dict[type, Mapping[str, Converter]] = {
    cls: methods
    for family in FAMILIES
    for cls, methods in import_module(f"lifecycle.compiler.{family}").CONVERTERS.items()
}


def compile_pipeline(pipeline: Any, signature: Signature) -> bytes:
    """Return model.npz with every method of the signature; raises NotCompiled naming the step that cannot be."""
    program = Program([feature.name for feature in signature.features], CONVERTERS)
    value = input_of(signature, program)
    outputs: dict[str, int] = {}
    for method in signature.methods:
        outputs[method] = program.convert(pipeline, method, value).register
    content = program.pack(outputs)
    try:
        read_compiled(content)
    except CompiledInvalid as error:
        raise NotCompiled(f"the engine refuses it: {error}") from error
    return content
