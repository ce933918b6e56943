"""Answers otherwise than its engine does when it is loaded: probabilities are off in the fourth place."""

from function import endpoint
from function.call import Answered, Reply
from function.engines import Outputs
from function.prediction import Exchange, Prepared

from ._engines import changed

honest = endpoint.predict


def predict(exchange: Exchange, prepared: Prepared) -> tuple[Answered, Reply]:
    """Answer slightly wrongly."""
    return honest(changed(exchange, _off), prepared)


def _off(outputs: Outputs) -> None:
    outputs["predict_proba"] = [[first * 0.9999, *others] for first, *others in outputs["predict_proba"]]


endpoint.predict = predict
