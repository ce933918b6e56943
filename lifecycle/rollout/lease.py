"""Who is releasing a model: one at a time, by an object in the store that its holder renews and others can take over.

It also keeps what a holder wants to find again after it was killed. It says who should act, and no more: what is done
to traffic is held to what was seen of it (cloud_run.py), whatever clocks and processes do.
"""

import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from function.store import Conflict, NotFound, Store, StoreError
from lifecycle.errors import LifecycleError, Overtaken, VerifyFailed

LEASE = "rollout.json"
LASTS = timedelta(seconds=60)  # since it was last renewed
RENEWAL_SECONDS = 15.0  # a revision may take minutes to become ready, and nothing else is done meanwhile
PROCESSES = Path("/proc")


class Holder(BaseModel):
    """Who holds a lease: a process, for the time of one release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    who: str  # a person's or a service account's address
    host: str
    machine: str  # what tells that its processes can be seen from here: the same start, the same container
    pid: int
    started: str  # by which the process is told from a later one with its number
    renewed: AwareDatetime

    @property
    def is_over(self) -> bool:
        """Whether others may take the lease: it was not renewed in time, or its process has ended."""
        return datetime.now(UTC) > self.renewed + LASTS or (self.machine == _machine() and not _lives(self))

    def words(self) -> str:
        """Return who it is and for how long, for people."""
        left = round((self.renewed + LASTS - datetime.now(UTC)).total_seconds())
        return f"{self.who} on {self.host}, process {self.pid}, for {left} s more unless it goes on"


class Lease:
    """A lease that is held."""

    def __init__(self, store: Store, model: str, who: str) -> None:
        """Take it where nobody holds it, or who did is gone; raises Overtaken, StoreError."""
        self._store, self._model = store, model
        record, self._generation = _read(store, model)
        if record.holder and not record.holder.is_over:
            raise _held(model, record.holder)
        self._holder = _this_process(who)
        self._lock = threading.Lock()
        self.state: dict[str, Any] | None = None  # what was kept, by the one before too; None where nothing is left
        self._write(record.state)

    def renew(self) -> None:
        """Hold on for another minute; raises Overtaken where somebody else has taken it, StoreError."""
        with self._lock:
            self._write(self.state)

    def keep(self, state: dict[str, Any] | None) -> None:
        """Hold on, and keep a state for who comes next; raises Overtaken, StoreError."""
        with self._lock:
            self._write(state)

    def forget(self) -> None:
        """Hold on, and keep nothing: the release has ended; raises Overtaken, StoreError."""
        self.keep(None)

    def give_back(self) -> None:
        """Let others have it at once; what was kept stays. One that cannot be given back runs out by itself."""
        with self._lock, contextlib.suppress(StoreError):  # a Conflict: somebody else has taken it, and it is theirs
            self._store.replace(_key(self._model), _json(None, self.state), self._generation)

    def _write(self, state: dict[str, Any] | None) -> None:
        holder = self._holder.model_copy(update={"renewed": datetime.now(UTC)})
        content = _json(holder, state)
        try:
            self._store.replace(_key(self._model), content, self._generation)
            stored = self._store.get(_key(self._model))
        except Conflict as error:
            raise self._lost() from error
        if stored.content != content:  # somebody was quick, or this process slept for long
            raise self._lost()
        self._generation, self.state = stored.generation, state

    def _lost(self) -> LifecycleError:
        holder = _read(self._store, self._model)[0].holder
        if holder:
            return _held(self._model, holder)
        gone = f"{self._store.url}/{_key(self._model)}, by which {self._model} is released here, was taken away."
        return VerifyFailed(gone, ["what to do: see what `status` says, then run it again"])


@contextmanager
def hold(
    store: Store, model: str, who: str, wait: Callable[[Overtaken], bool] = lambda overtaken: False
) -> Iterator[Lease]:
    """Hold the lease of a model while the block runs; raises Overtaken with who has it and for how long, StoreError.

    Where somebody has it, `wait` waits a while and tells whether to try again. The lease is renewed in the background.
    Where somebody else took it all the same, the next `keep` says so.
    """
    lease, ended = _take(store, model, who, wait), threading.Event()
    renewal = threading.Thread(target=_renew, args=(lease, ended), daemon=True)
    renewal.start()
    try:
        yield lease
    finally:
        ended.set()
        renewal.join()
        lease.give_back()


def _take(store: Store, model: str, who: str, wait: Callable[[Overtaken], bool]) -> Lease:
    while True:
        try:
            return Lease(store, model, who)
        except Overtaken as overtaken:
            if not wait(overtaken):
                raise


def _renew(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL_SECONDS):
        with contextlib.suppress(StoreError, LifecycleError):
            lease.renew()


def holder_of(store: Store, model: str) -> Holder | None:
    """Return who is releasing a model now, None where nobody is; raises StoreError."""
    holder = _read(store, model)[0].holder
    return holder if holder and not holder.is_over else None


class _Record(BaseModel):
    """What the object holds: nobody is its holder between releases; a state stays until its release has ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    holder: Holder | None = None
    state: dict[str, Any] | None = None


def _key(model: str) -> str:
    return f"{model}/{LEASE}"


def _json(holder: Holder | None, state: dict[str, Any] | None) -> bytes:
    return _Record(holder=holder, state=state).model_dump_json().encode()


def _read(store: Store, model: str) -> tuple[_Record, str | None]:
    try:
        stored = store.get(_key(model))
    except NotFound:
        return _Record(), None
    try:
        return _Record.model_validate_json(stored.content), stored.generation
    except ValidationError as error:
        text = f"{store.url}/{_key(model)} cannot be read, expected who is releasing {model}."
        raise VerifyFailed(f"{text} Where nobody is, delete it.") from error


def _held(model: str, holder: Holder) -> Overtaken:
    return Overtaken(f"{model} is being released already:", [holder.words()])


def _this_process(who: str) -> Holder:
    return Holder(
        id=uuid.uuid4().hex,
        who=who,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=_started(os.getpid()) or "",
        renewed=datetime.now(UTC),
    )


def _machine() -> str:
    """Return what two processes share that see each other: where there is no /proc, the address of the network card."""
    try:
        boot = (PROCESSES / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {(PROCESSES / 'self' / 'ns' / 'pid').readlink()}"
    except OSError:
        return f"{uuid.getnode():x}"


def _lives(holder: Holder) -> bool:
    if PROCESSES.is_dir():
        return _started(holder.pid) == holder.started
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str | None:
    """Return when a process was started, in ticks of the kernel; None where it has ended, or nobody can tell."""
    try:
        state, *fields = (PROCESSES / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
