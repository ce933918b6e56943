"""Everything that can stop a verb, each with the exit code that scripts see.

LifecycleError          1   anything else that went wrong
├── LimitsMissed        3   the model was measured and refused
│   └── GateRefused         by the gate, which compared it
├── DataRefused         4   the data would break the model
├── Missing             5   no such model or version
├── RecipeInvalid       6   model.yaml or train.py
├── ArtifactRefused     7   the fitted pipeline cannot be served
│   └── NotFitted           nobody has fitted it
├── StoreFailed         8   the store does not answer, or refuses
├── VerifyFailed        9   a published version is not what it was
├── Rejected           10   a release was refused or rolled back
├── CloudFailed        11   Google's APIs do not answer, or refuse
├── Overtaken          12   somebody else releases the same endpoint, or moved its traffic
└── NotReleasable      13   the endpoint or the image is not such that it can be released

(2 is click's, for a command line that it cannot read.)
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class LifecycleError(Exception):
    """A message for people, and the single reasons as lines."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, reasons: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *(f"  - {reason}" for reason in reasons)]))
        self.message = message
        self.reasons = list(reasons)


class LimitsMissed(LifecycleError):
    """A limit that was agreed before training is not met."""

    exit_code = 3


class GateRefused(LimitsMissed):
    """A candidate is worse than what there is, or too good to be true; `decision` holds all that was found."""

    def __init__(self, message: str, reasons: Sequence[str], decision: Mapping[str, Any]) -> None:
        super().__init__(message, reasons)
        self.decision = decision


class DataRefused(LifecycleError):
    """The frames differ from those of the previous version in a way that breaks the model."""

    exit_code = 4


class Missing(LifecycleError):
    """There is no such model, version or alias."""

    exit_code = 5


class RecipeInvalid(LifecycleError):
    """model.yaml or train.py is not as it must be; every fault is listed."""

    exit_code = 6


class ArtifactRefused(LifecycleError):
    """The fitted pipeline cannot be served by the image."""

    exit_code = 7


class NotFitted(ArtifactRefused):
    """The pipeline is not fitted."""


class StoreFailed(LifecycleError):
    """The store could not be reached or refused."""

    exit_code = 8


class VerifyFailed(LifecycleError):
    """A published version no longer is what its manifest says."""

    exit_code = 9


class Rejected(LifecycleError):
    """A candidate was refused, or rolled back; the reasons say on which evidence."""

    exit_code = 10


class CloudFailed(LifecycleError):
    """One of Google's APIs could not be reached, or refused."""

    exit_code = 11


class Overtaken(LifecycleError):
    """Somebody else releases the same endpoint, or moved its traffic; nothing is done against them."""

    exit_code = 12


class NotReleasable(LifecycleError):
    """The endpoint cannot be reached from here, is not there, or there is no image to release."""

    exit_code = 13
