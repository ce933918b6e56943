"""Who is releasing a model: one at a time, until it is done, dead or silent for a minute."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from function.store import FileStore, Store, open_store
from lifecycle.errors import Overtaken, VerifyFailed
from lifecycle.rollout import lease
from lifecycle.rollout.lease import LASTS, LEASE, Lease, hold, holder_of
from tests.cloud import CloudDouble
from tests.server import ROOT

KEY = f"churn/{LEASE}"
ANN, BOB = "ann@example.com", "bob@example.com"
STATE = {"rollout": "r1", "candidate": "pilot-churn-00002-abc", "step": 25, "evidence": [0.1, 2]}


@pytest.fixture(params=["file", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return a store of each kind."""
    if request.param == "gs":
        request.getfixturevalue("cloud")
    opened = open_store(tmp_path.as_uri() if request.param == "file" else "gs://models/prefix")
    yield opened
    opened.close()


def age(store: Store, by: timedelta, **changes: object) -> None:
    """Let the lease have been renewed so much earlier, with other changes to its holder."""
    stored = store.get(KEY)
    record = lease._Record.model_validate_json(stored.content)
    assert record.holder is not None
    holder = record.holder.model_copy(update={"renewed": datetime.now(UTC) - by, **changes})
    store.replace(KEY, lease._json(holder, record.state), stored.generation)


def test_one_holds_it_at_a_time(store: Store) -> None:
    """The second hears who it is, on which machine and for how long; after the first is done, it has it."""
    with hold(store, "churn", ANN) as held:
        held.renew()
        with pytest.raises(Overtaken, match="churn is being released already") as overtaken:
            Lease(store, "churn", BOB)
        (reason,) = overtaken.value.reasons
        assert reason.startswith(f"{ANN} on ") and "process " in reason
        assert reason.endswith(("for 60 s more unless it goes on", "for 59 s more unless it goes on"))
        holder = holder_of(store, "churn")
        assert holder is not None and holder.who == ANN
    assert holder_of(store, "churn") is None
    with hold(store, "churn", BOB):
        assert holder_of(store, "churn") is not None


def test_models_are_released_beside_each_other(store: Store) -> None:
    """A lease is one model's."""
    with hold(store, "churn", ANN), hold(store, "maintenance", BOB):
        pass


def test_what_was_kept_is_found_again(store: Store) -> None:
    """A release that ended early goes on where it was; one that ended well leaves nothing."""
    with hold(store, "churn", ANN) as held:
        assert held.state is None
        held.keep(STATE)
        held.renew()
    with hold(store, "churn", BOB) as held:
        assert held.state == STATE
        held.forget()
    with hold(store, "churn", BOB) as held:
        assert held.state is None


def test_who_is_patient_gets_it_when_it_is_given_back(store: Store) -> None:
    """Asked again and again whether to wait on, it tries each time, and knows whom it waits for."""
    first, waited = Lease(store, "churn", ANN), list[str]()

    def wait(overtaken: Overtaken) -> bool:
        waited.append(overtaken.reasons[0])
        if len(waited) == 3:
            first.give_back()
        return True

    with hold(store, "churn", BOB, wait):
        assert len(waited) == 3
        assert all(one.startswith(ANN) for one in waited)
        with pytest.raises(Overtaken), hold(store, "churn", ANN, lambda overtaken: False):
            pass


def test_silence_of_a_minute_ends_it(store: Store) -> None:
    """Whoever was not heard of for so long has lost it, and hears so when it wakes; its state goes on with the next."""
    first = Lease(store, "churn", ANN)
    first.keep(STATE)
    age(store, LASTS - timedelta(seconds=5), machine="another", pid=1)
    with pytest.raises(Overtaken):
        Lease(store, "churn", BOB)
    age(store, LASTS + timedelta(seconds=1), machine="another", pid=1)
    second = Lease(store, "churn", BOB)
    assert second.state == STATE
    for act in (first.renew, first.forget):
        with pytest.raises(Overtaken) as overtaken:
            act()
        assert overtaken.value.reasons[0].startswith(BOB)
    first.give_back()  # of what is not its own
    second.renew()
    assert second.state == STATE


def test_who_lost_it_while_nobody_holds_it_hears_so(store: Store) -> None:
    """A release that another one followed and finished cannot go on either."""
    first = Lease(store, "churn", ANN)
    age(store, LASTS + timedelta(seconds=1))
    with hold(store, "churn", BOB):
        pass
    with pytest.raises(VerifyFailed, match="was taken away"):
        first.renew()


def test_a_killed_process_loses_it_at_once(tmp_path: Path) -> None:
    """On the same machine nobody waits for a dead process, whether its parent has noticed or not."""
    script = (
        "import sys\n"
        "from function.store import FileStore\n"
        "from lifecycle.rollout.lease import Lease\n"
        f"Lease(FileStore(__import__('pathlib').Path({str(tmp_path)!r})), 'churn', {ANN!r}).keep({STATE!r})\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    store = FileStore(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Overtaken, match=f"process {process.pid}"):
            Lease(store, "churn", BOB)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with hold(store, "churn", BOB) as held:  # while the process is a zombie
            assert held.state == STATE
    with hold(store, "churn", BOB):
        pass


def test_another_process_of_its_number_is_not_the_holder(tmp_path: Path) -> None:
    """Numbers of processes come again; a process that started at another time is another one."""
    store = FileStore(tmp_path)
    Lease(store, "churn", ANN)
    age(store, timedelta(0), started="1")
    with hold(store, "churn", BOB):
        pass


def test_processes_are_looked_for_where_they_can_be_seen(tmp_path: Path) -> None:
    """Of another machine's process nothing can be told from here, so its lease has to run out."""
    store = FileStore(tmp_path)
    Lease(store, "churn", ANN)
    age(store, timedelta(0), machine="another", pid=999_999_999)
    with pytest.raises(Overtaken):
        Lease(store, "churn", BOB)


def test_without_proc_a_dead_process_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems than Linux, signals tell whether a process lives."""
    monkeypatch.setattr(lease, "PROCESSES", tmp_path / "nothing")
    store = FileStore(tmp_path)
    Lease(store, "churn", ANN)
    with pytest.raises(Overtaken):
        Lease(store, "churn", BOB)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    age(store, timedelta(0), pid=process.pid)
    with hold(store, "churn", BOB):
        pass


def test_of_many_who_come_at_once_one_gets_it(store: Store) -> None:
    """Whatever the order of their reads and writes, exactly one holds it."""

    def take(number: int) -> str:
        try:
            Lease(store, "churn", f"person-{number}@example.com")
        except Overtaken:
            return "overtaken"
        return "held"

    store.list("churn/")  # whoever opens the store's connections does it here
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(take, range(8)))
    assert sorted(outcomes) == ["held", *["overtaken"] * 7]


def test_a_take_over_has_one_winner(store: Store) -> None:
    """The same holds where all of them find a lease that has run out."""
    Lease(store, "churn", ANN)
    age(store, LASTS * 2)

    def take(number: int) -> bool:
        try:
            Lease(store, "churn", f"person-{number}@example.com")
        except Overtaken:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


@pytest.mark.parametrize("kind", ["status", "reset", "reset_after_commit"])
def test_faults_of_the_store_are_passed_over(kind: str, cloud: CloudDouble) -> None:
    """A lease is taken, renewed and given back once, whatever happens to the first call of each."""
    store = open_store("gs://models")
    cloud.faults.add(kind, method="storage.objects.insert")
    with hold(store, "churn", ANN) as held:
        cloud.faults.add(kind, method="storage.objects.insert")
        cloud.faults.add("reset", method="storage.objects.get")
        held.keep(STATE)
        cloud.faults.add(kind, method="storage.objects.insert")
    assert holder_of(store, "churn") is None
    with hold(store, "churn", BOB) as held:
        assert held.state == STATE
    store.close()


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """An object that is no lease is nobody's: it is named, with what to do."""
    store = FileStore(tmp_path)
    store.create(KEY, b'{"holder": 1}')
    with pytest.raises(VerifyFailed, match=r"churn/rollout\.json cannot be read.*delete it"):
        Lease(store, "churn", ANN)
