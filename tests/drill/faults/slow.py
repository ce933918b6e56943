"""Does everything twice for callers, and takes twice as long for it."""

from function import endpoint
from function.call import Answered, Reply
from function.prediction import Exchange, Prepared

from ._callers import is_check

honest_prepare, honest_predict = endpoint.prepare, endpoint.predict


def prepare(exchange: Exchange, spoken: str) -> Prepared:
    """Read and check a request, again."""
    once = 0.0
    if not is_check(exchange):
        honest_prepare(exchange, spoken)
        once = exchange.facts.validate_ms
    prepared = honest_prepare(exchange, spoken)
    exchange.facts.validate_ms += once
    return prepared


def predict(exchange: Exchange, prepared: Prepared) -> tuple[Answered, Reply]:
    """Answer, again."""
    once = 0.0
    if not is_check(exchange):
        honest_predict(exchange, prepared)
        once = exchange.facts.predict_ms
    answer = honest_predict(exchange, prepared)
    exchange.facts.predict_ms += once
    return answer


endpoint.prepare, endpoint.predict = prepare, predict
