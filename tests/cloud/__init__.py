"""A double of Google Cloud on loopback, held against Google's own API descriptions.

Requests are matched and checked with the discovery documents that google-api-python-client ships; what a service
then does is written here by hand, and what is not written is answered with 501 rather than with a guess.

    with CloudDouble(buckets=["models"]) as cloud:
        os.environ.update(cloud.environment)
"""

from tests.cloud.double import CloudDouble
from tests.cloud.faults import Fault

__all__ = ["CloudDouble", "Fault"]
