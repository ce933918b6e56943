"""Tells callers from checks, for faults that a rehearsal cannot see."""

from function.contract import CHECK_AGENT
from function.prediction import Exchange

CHECKS = CHECK_AGENT.encode()


def is_check(exchange: Exchange) -> bool:
    """Tell whether a request checks the revision."""
    return exchange.incoming.headers.get(b"user-agent", b"").startswith(CHECKS)
