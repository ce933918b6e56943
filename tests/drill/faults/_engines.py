"""Lets an engine answer otherwise, for one request."""

import dataclasses
from collections.abc import Callable, Sequence

from function.contract import Method
from function.engines import Engine, Outputs
from function.prediction import Exchange
from function.validation import Columns


class Changed:
    """An engine whose outputs go through a function."""

    def __init__(self, engine: Engine, change: Callable[[Outputs], None]) -> None:
        self.name = engine.name
        self._engine = engine
        self._change = change

    def predict(self, columns: Columns, methods: Sequence[Method]) -> Outputs:
        """Return the changed outputs."""
        outputs = self._engine.predict(columns, methods)
        self._change(outputs)
        return outputs


def changed(exchange: Exchange, change: Callable[[Outputs], None]) -> Exchange:
    """Return a request for an engine that answers otherwise."""
    model = dataclasses.replace(exchange.model, engine=Changed(exchange.model.engine, change))
    return exchange._replace(model=model)
