"""What a project's triggers make of events, and where its builds are kept.

The files of the repository are read from one folder, whatever the revision: what is not there is a 404, as at Google.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.cloud.cloudbuild import runs
from tests.cloud.cloudbuild.filters import Event, Message, PullRequest, Push, fires
from tests.cloud.cloudbuild.runs import Builds, Place, Runner
from tests.cloud.cloudbuild.triggers import TRIGGERS
from tests.cloud.errors import CloudError, invalid, not_found
from tests.cloud.project import Project, now
from tests.cloud.schemas import Json

PLACE = re.compile(r"projects/[^/]+/locations/([^/]+)/")
# Takes a trigger and why an event that it answers made no build.
Failed = Callable[[Json, CloudError], None]


class CloudBuild:
    """The builds of one project; safe for threads."""

    def __init__(self, project: Project, repository: Path | None, failed: Failed) -> None:
        """Make one without builds; `failed` hears of messages that made none, which nobody else is told."""
        self._project = project
        self._repository = repository
        self._failed = failed
        self.builds = Builds()

    @property
    def runner(self) -> Runner | None:
        """Who is given each build when it is queued, in the thread that queues it; builds before it stay queued."""
        return self.builds.runner

    @runner.setter
    def runner(self, runner: Runner | None) -> None:
        self.builds.runner = runner

    def fire(self, event: Push | PullRequest) -> list[Json]:
        """Let something happen to a repository, and return the builds that triggers make of it.

        Raises CloudError: a trigger that answers the event makes no build of it; others may have made theirs.
        """
        return [self.run(name, event) for name in self._answering(event)]

    def hear(self, topic: str, message: Json) -> None:
        """Let the triggers of a topic build, as they do for a message that was published.

        Raises CloudError: 501 alone; other refusals go where Google writes them down.
        """
        event = Message(topic, message)
        for name in self._answering(event):
            try:
                self.run(name, event)
            except CloudError as fault:
                if fault.status == 501:
                    raise
                self._failed(self._project.resources(TRIGGERS)[name], fault)

    def run(self, name: str, event: Event) -> Json:
        """Return the build that a trigger, by its full name, makes of an event.

        Raises CloudError: Cloud Build would make none.
        """
        trigger = self._project.resources(TRIGGERS)[name]
        return self.builds.add(runs.build_of(trigger, event, self._place(name), self._read, now()))

    def _answering(self, event: Event) -> list[str]:
        return [name for name, trigger in list(self._project.resources(TRIGGERS).items()) if fires(trigger, event)]

    def _place(self, name: str) -> Place:
        location = PLACE.match(name)[1]  # type: ignore[index]
        return Place(self._project.id, self._project.number, location)

    def _read(self, repository: str, path: str, revision: str) -> Json:
        file = None if self._repository is None else self._repository / path
        if file is None or not file.is_file():
            raise not_found(f"{repository}:{path}: not found at {revision or 'the default branch'}")
        try:
            configuration = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as fault:
            raise invalid(f"failed unmarshalling build config {path}: {fault}") from None
        if not isinstance(configuration, dict):
            raise invalid(f"failed unmarshalling build config {path}: it is no object")
        return configuration
