"""Golden examples: a few raw instances, the unusual ones first, with what the fitted pipeline gave for them."""

from typing import Any

import numpy as np
import pandas as pd

from function.contract import GoldenExample, Method, Signature
from function.errors import InvalidInstances
from function.validation import Instances, Validator
from lifecycle.frames import raw_instances

MOST = 40
AT_RANDOM = 10


def choose_rows(frame: pd.DataFrame, signature: Signature) -> list[int]:
    """Return positions of rows with each feature at its lowest, highest, missing and rarest, and some at random."""
    random = np.random.default_rng(0)
    chosen = dict.fromkeys(random.permutation(len(frame))[:AT_RANDOM].tolist())
    for feature in signature.features:
        column = frame[feature.name].reset_index(drop=True)
        if column.isna().any():
            chosen[int(column.isna().idxmax())] = None
        if feature.minimum is not None:
            numbers = column.astype(float)
            chosen |= dict.fromkeys([int(numbers.idxmin()), int(numbers.idxmax())])
        elif feature.categories is not None:
            rarest = column.astype(object).value_counts().index[-1]
            chosen[int((column.astype(object) == rarest).idxmax())] = None
    return sorted(list(chosen)[:MOST])


def golden_examples(frame: pd.DataFrame, signature: Signature, outputs: dict[Method, list[Any]]) -> list[GoldenExample]:
    """Return golden examples of a frame, of those rows that callers may send.

    `outputs` holds what the fitted pipeline gave for each of its rows.
    """
    positions = choose_rows(frame, signature)
    instances = raw_instances(frame.iloc[positions], signature.features)
    validator = Validator(signature)
    return [
        GoldenExample(instance=instance, outputs={method: rows[position] for method, rows in outputs.items()})
        for instance, position in zip(instances, positions, strict=True)
        if _is_valid(validator, instance)
    ]


def _is_valid(validator: Validator, instance: dict[str, Any]) -> bool:
    try:
        validator.columns(Instances([instance], str))
    except InvalidInstances:
        return False
    return True
