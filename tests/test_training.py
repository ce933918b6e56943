"""Training what changed: once, whatever interrupts it, and the same state in the end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from function.store import FileStore
from lifecycle import training
from lifecycle.errors import GateRefused
from lifecycle.training import Made, Stays
from lifecycle.versions import list_numbers, move_alias, read_aliases, read_version
from tests.tiny import Tiny
from tests.toys import TOYS, publish_toy


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Return a model of a moment, of which nothing is rehearsed in processes."""
    monkeypatch.setattr(training, "rehearse_load", lambda *_: {"parts_ms": {"load": 1.0}, "one_row_ms": 0.1})
    monkeypatch.setattr(training, "rehearse_rows", lambda *_: [0.1, 0.1])
    return Tiny(tmp_path)


def train_changed(tiny: Tiny, **wishes: Any) -> Made | Stays:
    """Train the model if something has changed."""
    return training.train_changed(tiny.store, "toy", lambda _: None, models=tiny.models, **wishes)


def state(tiny: Tiny) -> tuple[list[int], dict[str, int]]:
    """Return the versions that there are, and what the aliases name."""
    return list_numbers(tiny.store, "toy"), read_aliases(tiny.store, "toy")


def appended(tiny: Tiny) -> None:
    """Edit train.py."""
    file = tiny.folder / "train.py"
    file.write_text(file.read_text() + "# a word more\n")


CHANGES: dict[str, tuple[Callable[[Tiny], object], tuple[str, ...]]] = {
    "nothing": (lambda tiny: None, ()),
    "written-again": (lambda tiny: tiny.write(), ()),
    "rows": (lambda tiny: tiny.write(seed=1), ("the model's folder changed", "the data changed")),
    "folder": (appended, ("the model's folder changed",)),
}


@pytest.mark.parametrize("case", CHANGES)
def test_only_what_changed_is_trained(case: str, tiny: Tiny) -> None:
    """A version stays as long as its folder and rows do; a new one says what made it necessary."""
    first = train_changed(tiny)
    assert isinstance(first, Made)
    assert first.changed == ("there is no version yet",)
    change, expected = CHANGES[case]
    change(tiny)
    again = train_changed(tiny)
    if expected:
        assert isinstance(again, Made)
        assert (again.changed, state(tiny)) == (expected, ([1, 2], {"challenger": 2}))
    else:
        assert again == Stays(first.version)
        assert state(tiny) == ([1], {"challenger": 1})


def test_a_packaged_version_is_replaced(tiny: Tiny) -> None:
    """What somebody packaged by hand does not say what it was made of, so that train.py makes the next one."""
    publish_toy(tiny.store, "toy", TOYS["binary"]())
    made = train_changed(tiny, accept_data=True)
    assert isinstance(made, Made)
    assert made.changed == ("what version 1 was made of is not recorded",)


class Killed(BaseException):
    """What a test ends a training with, in the place of a kill."""


def watch(patch: pytest.MonkeyPatch, tiny: Tiny, noted: Callable[[str], object]) -> None:
    """Let a test know of each write to the model's store before it happens."""

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(store: FileStore, key: str, *rest: Any) -> Any:
            if store.url == tiny.store.url:
                noted(key)
            return original(store, key, *rest)

        return write

    for name in ("create", "replace", "delete"):
        patch.setattr(FileStore, name, watched(getattr(FileStore, name)))


WRITES = 9  # of a training: a claim, six files, the manifest, the alias


@pytest.mark.parametrize("write", range(WRITES))
def test_interrupted_at_any_write_it_ends_in_the_same_state(
    write: int, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its claim, a file, its manifest or its alias, and run again: one version, with its alias."""
    left = iter(range(write))

    def kill_in_time(key: str) -> None:
        if next(left, None) is None:
            raise Killed(key)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        watch(patch, tiny, kill_in_time)
        train_changed(tiny)
    published = list_numbers(tiny.store, "toy")
    assert bool(published) is (write == WRITES - 1)
    assert isinstance(train_changed(tiny), Stays if published else Made)
    numbers, aliases = state(tiny)
    assert (len(numbers), aliases) == (1, {"challenger": numbers[0]})
    assert isinstance(train_changed(tiny), Stays)


def test_the_last_write_is_the_alias(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above reaches every write of a training, and a version exists before its alias names it."""
    keys: list[str] = []
    watch(monkeypatch, tiny, keys.append)
    train_changed(tiny)
    assert len(keys) == WRITES
    assert keys[0] == "toy/1/claim"
    assert keys[-2:] == ["toy/1/manifest.json", "toy/aliases.json"]


def test_a_refused_candidate_leaves_everything_as_it_was(tiny: Tiny) -> None:
    """Nothing is published and no alias moves; as long as nothing changes, it is tried and refused again."""
    train_changed(tiny)
    tiny.write(lambda frame: frame.assign(age=-frame.age.where(frame.index < 400, -frame.age)), seed=1)
    for _ in range(2):
        with pytest.raises(GateRefused):
            train_changed(tiny)
        assert state(tiny) == ([1], {"challenger": 1})


def test_an_alias_that_names_another_version_is_put_right(tiny: Tiny) -> None:
    """The version that stays is the one to be released."""
    train_changed(tiny)
    tiny.write(seed=1)
    train_changed(tiny)
    move_alias(tiny.store, "toy", "challenger", 1)
    assert train_changed(tiny) == Stays(read_version(tiny.store, "toy", 2))
    assert state(tiny) == ([1, 2], {"challenger": 2})


def test_a_draft_only_reads_the_store(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may only read can draft: what would be published is written elsewhere, champion and all compared."""
    train_changed(tiny)
    tiny.write(seed=1)
    before = sorted(tiny.store.list(""))
    drafts = FileStore(tmp_path / "drafts")

    def refuse(key: str) -> None:
        raise AssertionError(f"a draft writes {key} into the store")

    watch(monkeypatch, tiny, refuse)
    made = train_changed(tiny, drafts=drafts)
    assert isinstance(made, Made)
    assert made.decision is not None
    assert made.decision.champion == 1
    assert (list_numbers(drafts, "toy"), sorted(tiny.store.list(""))) == ([1], before)
    tiny.write()
    assert isinstance(train_changed(tiny, drafts=drafts), Stays)
