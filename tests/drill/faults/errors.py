"""Every twentieth prediction fails, whoever asks."""

import itertools

from function import endpoint
from function.call import Answered, Reply
from function.prediction import Exchange, Prepared

ONE_IN = 20
COUNT = itertools.count(1)
honest = endpoint.predict


def predict(exchange: Exchange, prepared: Prepared) -> tuple[Answered, Reply]:
    """Answer, or fail."""
    if next(COUNT) % ONE_IN == 0:
        raise ArithmeticError("every twentieth")
    return honest(exchange, prepared)


endpoint.predict = predict
