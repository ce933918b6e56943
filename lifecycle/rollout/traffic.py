"""The traffic of one service: each change is in the ledger before it is made, and after; none is unrecorded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from function.store import Store, StoreError
from lifecycle.rollout import ledger
from lifecycle.rollout.cloud_run import PREVIOUS, STABLE, Endpoint, Share, State
from lifecycle.rollout.ledger import Event, Part


class Traffic:
    """A service as it was last seen, and what is done to it from there; raises Overtaken where it was changed since."""

    def __init__(self, endpoint: Endpoint, seen: State, store: Store, model: str, rollout: str, who: str) -> None:
        """Start from what was seen of the service; `rollout` is the release that changes are written down for."""
        self._endpoint, self._store = endpoint, store
        self._model, self._rollout, self._who = model, rollout, who
        self.state = seen

    def check(self) -> None:
        """Look again; raises Overtaken where image, labels or traffic are not what was seen."""
        self.state = self._endpoint.unchanged(self.state)

    def deploy(self, image: str, labels: Mapping[str, str], shares: Sequence[Share], why: str) -> str:
        """Make a revision of an image and labels, while the traffic is split so; return its name, ready or not."""
        with self._written(shares, why):
            self.state = self._endpoint.deploy(self.state, image, labels, shares)
        return self.state.latest_created

    def move(self, shares: Sequence[Share], why: str) -> None:
        """Split the traffic."""
        with self._written(shares, why):
            self.state = self._endpoint.move(self.state, shares)

    def roll_back(self, revision: str, why: str) -> None:
        """Give a revision all the traffic, and its image and labels to the template.

        That comes first: a store that does not answer keeps nobody with a bad version. What could not be written down
        then is raised as StoreError after it, and `status` writes down what it finds.
        """
        parts = self._parts([Share(revision, 100, STABLE)])
        unwritten: StoreError | None = None
        try:
            self._write("intent", parts, why)
        except StoreError as error:
            unwritten = error
        self.state = self._endpoint.roll_back(self.state, revision)
        if unwritten is not None:
            raise unwritten
        self._write("done", parts, why)

    def crown(self, revision: str, why: str) -> None:
        """Write down that the version of a revision is the champion now."""
        self._write("champion", self._parts([Share(revision, 100, STABLE)]), why)

    @contextmanager
    def _written(self, shares: Sequence[Share], why: str) -> Iterator[None]:
        parts = self._parts(shares)
        self._write("intent", parts, why)
        yield
        self._write("done", parts, why)

    def _parts(self, shares: Sequence[Share]) -> tuple[Part, ...]:
        known = [(share, self._endpoint.revision(share.revision)) for share in shares if share.tag != PREVIOUS]
        return tuple(
            Part(revision=one.name, version=one.version, image=one.image, percent=share.percent) for share, one in known
        )

    def _write(self, kind: ledger.Kind, parts: tuple[Part, ...], why: str) -> None:
        event = Event(rollout=self._rollout, kind=kind, shares=parts, who=self._who, why=why)
        ledger.append(self._store, self._model, event)
