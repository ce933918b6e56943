"""What every revision and front of one Cloud Run shares: the images, the rest of the cloud, and who listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cloud.artifactregistry.images import Images
from tests.cloud.logging.entries import RequestFacts
from tests.cloud.run.guard import Guard
from tests.cloud.run.instances import Lines
from tests.cloud.run.secrets import Reading

Environment = Callable[[str], Mapping[str, str]]
Allowed = Callable[[str, str | None], bool]
Requested = Callable[[RequestFacts], None]


@dataclass(frozen=True)
class Platform:
    """The surroundings; the façade's constructor says what each is."""

    images: Images
    environment: Environment
    allowed: Allowed
    signed_in: Allowed
    secret: Reading
    lines: Lines
    requested: Requested
    home: Path
    guard: Guard
    seed: int | None
