"""From training to traffic: python -m lifecycle VERB."""

from lifecycle.data import Data

__all__ = ["Data"]
