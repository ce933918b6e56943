"""A double of Google Cloud on loopback, held against Google's own API descriptions.

Requests are matched and checked with the discovery documents that google-api-python-client ships; what a service
then does is written here by hand, and what is not written is answered with 501 rather than with a guess.

    with CloudDouble(buckets=["models"]) as cloud:
        os.environ.update(cloud.environment)

There is one project. `cloud.resources("run.projects.locations.services")` gives what a collection holds, by full name;
`CloudDouble(apis=FRESH_APIS)` starts with what a new project has enabled. A request below `/_as/EMAIL/` is made by that
service account and needs its grants; every other one is the owner's, to whom everything is allowed.

What happens outside of any API is told to its parts: `cloud.signals.line(...)` is a line that a container printed,
`cloud.cloud_build.fire(Push(...))` a push to a repository, and `cloud.cloud_build.runner` is given the builds.
"""

from tests.cloud.double import CloudDouble
from tests.cloud.faults import Fault

__all__ = ["CloudDouble", "Fault"]
