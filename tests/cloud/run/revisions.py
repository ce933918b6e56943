"""A revision: a template that never changes, the image that it meant when it was made, and its instances."""

from __future__ import annotations

import re
import secrets
import string
import uuid
from collections.abc import Callable
from dataclasses import replace

from tests.cloud.artifactregistry.images import Image, ImageNotFound
from tests.cloud.errors import CloudError, invalid
from tests.cloud.logging.entries import Origin
from tests.cloud.project import now, project_number
from tests.cloud.run.conditions import (
    READY,
    Failure,
    condition,
    image_missing,
    log_uri,
    not_started,
    secrets_unavailable,
)
from tests.cloud.run.instances import Instance
from tests.cloud.run.platform import Platform
from tests.cloud.run.pools import ROLLOUT, CannotLaunch, Pool
from tests.cloud.run.secrets import SecretsUnavailable, read_secrets
from tests.cloud.run.specs import read_template
from tests.cloud.schemas import Json

# Who deployed is noted on a template, but makes no revision; a name is compared by itself.
BESIDE_THE_POINT = frozenset({"client", "clientVersion", "revision"})
OF_THE_TEMPLATE_ALONE = frozenset({"revision", "healthCheckDisabled"})
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


class Revision:
    """One revision; `failure` says why it cannot serve, None where it can."""

    def __init__(self, origin: Origin, template: Json, platform: Platform) -> None:
        """Take a template; raises CloudError: 501 for what the double does not do."""
        self.origin = origin
        self.name = origin.revision
        self.template = template
        self.spec = read_template(template, origin.service)
        self.failure: Failure | None = None
        self.pool = Pool(self.spec, self._launch)
        self._platform = platform
        self._image: Image | None = None
        self._made = now()
        self._conditions: list[Json] = []
        self._uid = str(uuid.uuid4())

    def check(self) -> None:
        """Find the image and start one instance of it; what goes wrong becomes the revision's failure for good."""
        self.failure = self._first_failure()
        self._conditions = [condition(kind, self.failure) for kind in (READY, "ContainerHealthy")]

    def is_made_of(self, template: Json) -> bool:
        """Tell whether a template would make the same revision again."""
        return significant(template) == significant(self.template)

    def resource(self, service_name: str, minimum: int) -> Json:
        """Return the revision as the Admin API's GoogleCloudRunV2Revision."""
        fields = {name: value for name, value in self.template.items() if name not in OF_THE_TEMPLATE_ALONE}
        digest = f"{self.spec.image.partition('@')[0]}@{self._image.digest}" if self._image else ""
        return {
            **fields,
            "name": f"{service_name}/revisions/{self.name}",
            "uid": self._uid,
            "generation": "1",
            "observedGeneration": "1",
            "createTime": self._made,
            "updateTime": self._made,
            "service": service_name,
            "reconciling": False,
            "conditions": self._conditions,
            "containerStatuses": [{"name": self.spec.container, "imageDigest": digest}],
            "scalingStatus": {"desiredMinInstanceCount": minimum},
            "logUri": log_uri(self.origin),
        }

    def _first_failure(self) -> Failure | None:
        try:
            self._image = self._platform.images.resolve(self.spec.image)
        except ImageNotFound as missing:
            return image_missing(self.name, str(missing))
        try:
            self._secrets()
        except SecretsUnavailable as fault:
            return secrets_unavailable(self.name, str(fault))
        return None if self._starts() else not_started(self.origin, self.spec)

    def _starts(self) -> bool:
        if not self.spec.checked:
            return True
        verdict = self.pool.start(ROLLOUT)
        return verdict is not None and verdict.passed

    def _launch(self, reason: str, on_end: Callable[[Instance], None]) -> Instance:
        if self._image is None:
            raise ImageNotFound(self.spec.image)
        # Cloud Run's ids are this long; the first byte is always zero.
        origin = replace(self.origin, instance_id=f"00{secrets.token_hex(96)}")
        instance = Instance(origin, self.spec, self._image, self._platform.lines)
        instance.log(reason)
        try:
            # Read anew for each instance: `latest` is then the newest version.
            environment = {**self._platform.environment(self.spec.service_account), **self._secrets()}
            instance.start(environment, self._platform.home, self._platform.guard, on_end)
        except (OSError, SecretsUnavailable) as fault:  # OSError: the template's own command is not there
            instance.log(f"Application failed to start: {fault}")
            raise CannotLaunch from None
        return instance

    def _secrets(self) -> dict[str, str]:
        number = project_number(self.origin.project)
        return read_secrets(self.spec.secrets, self.spec.service_account, number, self._platform.secret)


def short_name(revision: str | None) -> str:
    """Return the last part of a revision's name, nothing for none."""
    return (revision or "").rpartition("/")[2]


def name_revision(service: str, number: int, template: Json) -> str:
    """Return the name that a template asks for, else one of Cloud Run's; raises CloudError: 400 for a bad name."""
    asked = short_name(template.get("revision"))
    if not asked:
        return f"{service}-{number:05}-{''.join(secrets.choice(string.ascii_lowercase) for _ in range(3))}"
    if not NAME.fullmatch(asked) or not asked.startswith(f"{service}-"):
        raise invalid(
            f"Violation in service.template.revision: must begin with the service's name and a hyphen: {asked}"
        )
    return asked


def already_exists(name: str) -> CloudError:
    """Return the refusal of a template that asks for the name of a revision made of another one."""
    return CloudError(409, "alreadyExists", f"Revision named '{name}' with different configuration already exists.")


def significant(template: Json) -> Json:
    """Return what makes a revision the one that it is."""
    return {
        name: value for name, value in template.items() if name not in BESIDE_THE_POINT and value not in ({}, [], "")
    }
