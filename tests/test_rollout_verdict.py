"""Verdicts: written beside the version, read before the next release, shown to people; and which version is next."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from function.store import FileStore
from lifecycle.errors import VerifyFailed
from lifecycle.pinning import pin_of
from lifecycle.rollout.chosen import standing, to_release
from lifecycle.rollout.course import _as_json
from lifecycle.rollout.images import tag_of
from lifecycle.rollout.judge import Decision, Finding
from lifecycle.rollout.page import IN_WORDS, page, summary
from lifecycle.rollout.refusals import Refusal, anchor
from lifecycle.rollout.replay import Latency, Move, Replayed, Share, joined
from lifecycle.rollout.verdict import Step, Verdict, read_verdicts, write_verdict
from lifecycle.rollout.view import Lines, Moving, Progress
from lifecycle.versions import CHALLENGER, CHAMPION, Version, move_alias
from tests.toys import TOYS, publish_toy

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
FINDING = Finding(check="errors", counted="3 of 49 requests, the stable's 0 of 1,014", one_in=774)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return a store with three versions of a toy."""
    store = FileStore(tmp_path)
    toy = next(iter(TOYS.values()))()
    for _ in range(3):
        publish_toy(store, "toy", toy)
    return store


def verdict(version: int, outcome: str, *, tag: str = "", minutes: int = 0, **more: Any) -> Verdict:
    """Return a verdict on a version that ended so many minutes after the others."""
    facts: dict[str, Any] = {
        "rollout": f"r{version}-{outcome.replace(' ', '-')}-{minutes}",
        "environment": "dev",
        "model": "toy",
        "version": version,
        "image": "images/toy@sha256:1",
        "tag": tag,
        "candidate": "pilot-toy-00002-abc",
        "stable": "pilot-toy-00001-xyz",
        "stable_version": 1,
        "outcome": outcome,
        "heading": Refusal.ERRORS.heading,
        "basis": "traffic",
        "reasons": ("errors: 3 of 49 | 0 of 1,014",),
        "notes": ("gender is not in the records",),
        "started_at": NOW,
        "ended_at": NOW + timedelta(minutes=minutes),
        "by": "ann@example.com",
        "cold_start_ms": 412.0,
    }
    return Verdict(**facts | more)


def tag(version: Version) -> str:
    """Return the tag of a version's image with the code of this checkout."""
    return tag_of(version.manifest.version, pin_of(version))


def test_a_verdict_is_read_as_it_was_written(store: FileStore) -> None:
    """JSON for the next release, Markdown for people, both beside the version, and listed by their end."""
    later, earlier = verdict(2, "promoted", minutes=9), verdict(2, "rolled back", minutes=1)
    assert write_verdict(store, later) == f"toy/2/rollouts/{later.rollout}.md"
    write_verdict(store, earlier)
    assert read_verdicts(store, "toy", 2) == [earlier, later]
    assert read_verdicts(store, "toy", 1) == []


def test_a_verdict_that_cannot_be_read_is_named(store: FileStore) -> None:
    """A file that is no verdict stops a release with its address, not with a stack."""
    store.create("toy/2/rollouts/x.json", b'{"outcome": "good"}')
    with pytest.raises(VerifyFailed, match=r"toy/2/rollouts/x\.json cannot be read: \d+ faults"):
        read_verdicts(store, "toy", 2)


@pytest.mark.parametrize("outcome", IN_WORDS)
def test_each_outcome_has_its_sentence(outcome: str) -> None:
    """A page starts with what happened, in words."""
    told = verdict(2, outcome)
    assert page(told).startswith(f"# toy 2: {outcome}\n\n{summary(told)}\n")


def test_a_page_holds_the_evidence() -> None:
    """Steps, findings, what was asked at 0 % and what could not be; a bar in a text breaks no table."""
    step = Step(
        percent=5,
        since=NOW,
        until=NOW + timedelta(minutes=3),
        candidate_requests=49,
        stable_requests=1014,
        decision="roll back",
        basis="traffic",
        reasons=("too many errors",),
    )
    replay = _as_json(
        Replayed(
            compared=Share(200, 3),
            low=0.003,
            high=0.043,
            slices={"plan": {"A": Share(50, 3), "B": Share(150, 0)}},
            moves={"0.5": 0.01, "1.0": 0.62},
            largest=(Move(0.62, {"age": 40, "plan": "A"}, "yes", "no"),),
            latency=Latency(200, 1.02, 0.98, 1.06, 3.1, 3.2),
            made_up=("gender",),
            cannot_be_asked={"age is missing": 4},
            notes=("it ended early",),
        )
    )
    examined = {"faults": [], "golden": 21, "bodies": ["no JSON", "no list"], "golden_ms": 8.6, "heading": None}
    text = page(verdict(2, "rolled back", steps=(step,), findings=(FINDING,), replay=replay, examined=examined))
    assert "| 5 % | 3.0 | 49 | 1,014 | roll back: too many errors |" in text
    assert "| errors | 3 of 49 requests, the stable's 0 of 1,014 | 1 in 774 |" in text
    for line in (
        "- golden examples compared with what is recorded: 21",
        "- bad requests sent: 2 (no JSON, no list)",
        "- all were answered as they have to be",
        "- 200 recent instances were answered by both revisions, 3 of them otherwise (1.5 %, between 0.3 and 4.3 %)",
        "- it took 1.02 times (0.98 to 1.06) the stable's time: 3.2 and 3.1 ms, 200 pairs of calls",
        "- how far answers moved: 50 % at most 0.01, 100 % at most 0.62",
        "- made up, because records do not hold it: gender",
        "- 4 could not be asked: age is missing",
        "- it ended early",
        "| plan | A | 3 of 50 |",
        "| 0.62 | age 40, plan A | yes | no |",
    ):
        assert line in text.splitlines()
    assert "None" not in text
    assert "- gender is not in the records" in text
    assert "version 1 (pilot-toy-00001-xyz)" in text
    widths = [len(line.split("|")) for line in text.splitlines() if line.startswith("| 5 %")]
    assert widths == [7]


@pytest.mark.parametrize(
    ("outcomes", "stands"),
    [
        ([], False),
        (["rolled back"], True),
        (["refused"], True),
        (["rolled back", "promoted"], False),
        (["promoted", "rolled back"], True),
        (["rolled back", "interrupted"], True),
        (["overtaken"], False),
        (["interrupted"], False),
        (["shadowed"], False),
    ],
    ids=lambda value: " then ".join(value) if isinstance(value, list) else "",
)
def test_what_stands_against_a_version(store: FileStore, outcomes: list[str], stands: bool) -> None:
    """The last refusal or rollback stands, until the version is promoted; an interruption says nothing of it."""
    move_alias(store, "toy", CHAMPION, 1)
    move_alias(store, "toy", CHALLENGER, 2)
    challenger = to_release(store, "toy")
    for minutes, outcome in enumerate(outcomes):
        write_verdict(store, verdict(2, outcome, tag=tag(challenger), minutes=minutes))
    assert (standing(store, challenger) is not None) is stands
    assert to_release(store, "toy").manifest.version == (1 if stands else 2)


def test_other_code_is_another_release(store: FileStore) -> None:
    """What was refused in an image of other code may be released again; of the same image it may not."""
    move_alias(store, "toy", CHALLENGER, 2)
    challenger = to_release(store, "toy")
    write_verdict(store, verdict(2, "refused", tag="v2-000000000000"))
    assert standing(store, challenger) is None
    assert standing(store, challenger, "images/toy@sha256:1") is not None
    assert standing(store, challenger, "images/toy@sha256:2") is None


def test_without_aliases_the_newest_is_released(store: FileStore) -> None:
    """A store that nobody trained into by the verbs still has something to release."""
    assert to_release(store, "toy").manifest.version == 3


@pytest.mark.parametrize("refusal", Refusal)
def test_each_refusal_leads_to_the_runbook(refusal: Refusal) -> None:
    """Links are made as Markdown makes anchors of headings."""
    assert refusal.link == f"docs/runbook.md#{anchor(refusal.heading)}"
    assert anchor("The candidate's instances end") == "the-candidates-instances-end"


def progress(verdict: str = "wait") -> Progress:
    """Return a release at 5 %."""
    decision = Decision(verdict=verdict, reasons=("49 of 100 requests",), basis="traffic", one_in=50)  # type: ignore[arg-type]
    return Progress("toy", 2, (5, 100), 5, 1.5, 15, 49, 1014, (FINDING,), decision, 100)


def test_plain_lines_say_a_look_once(capsys: pytest.CaptureFixture[str]) -> None:
    """In a log, a look that says what the last one said is no line."""
    lines = Lines()
    lines.say("toy", "5 % of the traffic")
    for _ in range(3):
        lines.show(progress())
    lines.show(progress("promote"))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "toy: 5 % of the traffic"
    assert [line.partition("; ")[2] for line in said[1:]] == [
        "wait (49 of 100 requests)",
        "promote (49 of 100 requests)",
    ]


def test_the_moving_picture_shows_steps_and_evidence() -> None:
    """A terminal shows which step it is, what was counted, and how far the evidence has come."""
    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    with Moving(console) as moving:
        moving.say("toy", "5 % of the traffic")
        moving.show(progress())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "● 5 %" in shown
    assert "○ 100 %" in shown
    assert "3 of 49 requests" in shown
    assert "1 in 50 of 100" in shown


def test_replays_are_joined() -> None:
    """Counts add up, and the interval is that of the sum."""
    one = Replayed(compared=Share(100, 1), slices={"area": {"north": Share(60, 1)}}, refused_by_candidate=1)
    two = Replayed(compared=Share(50, 2), slices={"area": {"north": Share(20, 0), "south": Share(30, 2)}})
    both = joined([one, two])
    assert both.compared == Share(150, 3)
    assert both.low < 0.02 < both.high < 0.06
    assert both.slices == {"area": {"north": Share(80, 1), "south": Share(30, 2)}}
    assert both.refused_by_candidate == 1
    assert joined([]).notes == ("nothing was asked meanwhile",)
