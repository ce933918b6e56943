"""What stands behind Cloud Run's services: the runtime that makes revisions run."""

from __future__ import annotations

from typing import Protocol

from tests.cloud.schemas import Json


class Runtime(Protocol):
    """Runs what the control plane describes; called without any lock but the service's own."""

    def deploy(self, service: Json, old: Json | None) -> Json:
        """Make true what a service says, and return the fields of it that come out otherwise.

        `service` is complete and hopeful: `latestCreatedRevision` names the revision to run, `latestReadyRevision` the
        same one, `terminalCondition` says that it succeeded. A runtime that sees it fail returns both as they are;
        one that listens returns `uri`, `urls` and `trafficStatuses`. `old` is the service before, None for a new one.
        """

    def remove(self, name: str) -> None:
        """End everything of a service, by its full name."""


class InstantRuntime:
    """Runs nothing: every revision is ready at once."""

    def deploy(self, service: Json, old: Json | None) -> Json:
        """Return no change."""
        return {}

    def remove(self, name: str) -> None:
        """Do nothing."""
