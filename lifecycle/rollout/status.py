"""Who answers now, by the cloud itself, and who answered when, by the ledger: what `status` and `history` show."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from function.store import Store, StoreError
from lifecycle import console
from lifecycle.errors import Missing, VerifyFailed
from lifecycle.rollout import ledger
from lifecycle.rollout.cloud_run import Endpoint, Revision, State, words
from lifecycle.rollout.lease import Holder, holder_of
from lifecycle.rollout.ledger import Event, Part, Period, parts_in_words

TIME = "%Y-%m-%d %H:%M:%S UTC"


class Standing(NamedTuple):
    """A revision, and how much of the traffic it gets."""

    revision: Revision
    percent: int
    tags: tuple[str, ...]

    @property
    def part(self) -> Part:
        """What of it the ledger holds."""
        known = self.revision
        return Part(revision=known.name, version=known.version, image=known.image, percent=self.percent)


class Status(NamedTuple):
    """A service, as it stands."""

    state: State
    standings: tuple[Standing, ...]  # those with traffic or a tag
    unreleased: Revision | None  # the latest, where nothing goes to it and it is not what answers
    holder: Holder | None  # who is releasing
    said: Event | None  # what the ledger says, where it says otherwise
    note: str  # what was done about that
    fault: str  # why it cannot be told who is releasing


def look(endpoint: Endpoint, store: Store, model: str, who: str) -> Status:
    """Return who answers now. Where the ledger says otherwise, and nobody is releasing, it is told what was found.

    Raises NotReleasable, CloudFailed, StoreError.
    """
    holder, fault = _holder(store, model)
    state = endpoint.read()
    known = {name: endpoint.revision(name) for name in _named(state)}
    standings = tuple(_standing(state, revision) for name, revision in known.items() if _is_reached(state, name))
    said = ledger.last_split(store, model)
    if _agrees(said, standings):
        return Status(state, standings, _unreleased(state, known), holder, None, "", fault)
    nobody = holder is None and not fault and not state.reconciling
    note = _repair(store, model, standings, who) if nobody else ""
    return Status(state, standings, _unreleased(state, known), holder, said, note, fault)


def _holder(store: Store, model: str) -> tuple[Holder | None, str]:
    """Return who is releasing, and why that cannot be told."""
    try:
        return holder_of(store, model), ""
    except VerifyFailed as error:
        return None, error.message


def show_status(status: Status, as_json: bool) -> None:
    """Print who answers now."""
    if as_json:
        console.emit(_as_json(status))
        return
    cells = [
        (one.revision.name, _version(one.revision), f"{one.percent} %", ", ".join(one.tags), _ready(one.revision))
        for one in status.standings
    ]
    console.table(("revision", "version", "traffic", "tags", "ready"), cells)
    for one in status.standings:
        console.say(f"{one.revision.name} runs {one.revision.image}")
    for text in _remarks(status):
        console.warn(text)


def look_back(store: Store, model: str, newest: int | None) -> tuple[list[Period], ledger.Ledger]:
    """Return who answered from when to when, and what was read; raises Missing where nothing is, StoreError."""
    found = ledger.read(store, model, newest)
    answered = ledger.periods(found.events)
    if not answered:
        raise Missing(f"Nothing is written of {model} in {store.url} yet: nothing was released.", found.faults)
    return answered, found


def look_back_at(store: Store, model: str, moment: datetime) -> tuple[Period, ledger.Ledger]:
    """Return who answered at a moment, and what was read; raises Missing where nothing tells, StoreError."""
    found = ledger.read_around(store, model, moment)
    answered = ledger.at(found.events, moment)
    if answered is None:
        first = next((f" It begins at {one.time:{TIME}}." for one in found.events), "")
        raise Missing(f"The ledger of {model} in {store.url} says nothing of {_text(moment)}.{first}", found.faults)
    return answered, found


def show_history(answered: Sequence[Period], found: ledger.Ledger, as_json: bool) -> None:
    """Print who answered from when to when."""
    if as_json:
        console.emit([_period_as_json(one) for one in answered])
    else:
        cells = [(_text(one.since), _text(one.until), _answered(one), one.who, one.why) for one in answered]
        console.table(("from", "until", "answered", "by", "because"), cells)
    _warn_of(found)


def show_moment(answered: Period, found: ledger.Ledger, as_json: bool) -> None:
    """Print who answered at one moment."""
    if as_json:
        console.emit(_period_as_json(answered))
    else:
        console.say(f"{_answered(answered)}: from {_text(answered.since)} until {_text(answered.until)}")
        for part in answered.shares:
            console.say(f"{part.revision} ran {part.image}")
        console.say(f"by {answered.who}, because: {answered.why}")
    _warn_of(found)


def _named(state: State) -> list[str]:
    """Return the revisions that are worth a look, each once."""
    names = [share.revision for share in state.answering] + [state.latest_created]
    return [name for name in dict.fromkeys(names) if name]


def _standing(state: State, revision: Revision) -> Standing:
    shares = [share for share in state.answering if share.revision == revision.name]
    return Standing(revision, sum(share.percent for share in shares), tuple(share.tag for share in shares if share.tag))


def _is_reached(state: State, name: str) -> bool:
    return any(share.revision == name for share in state.answering)


def _unreleased(state: State, known: dict[str, Revision]) -> Revision | None:
    """Return the latest revision where its release would change something; a rollback leaves a copy of the stable."""
    latest, main = known.get(state.latest_created), known.get(state.main)
    if latest is None or main is None or state.percent(latest.name):
        return None
    same = (latest.image, latest.version, latest.settings) == (main.image, main.version, main.settings)
    return None if same else latest


def _agrees(said: Event | None, standings: Sequence[Standing]) -> bool:
    """Tell whether the ledger says what is; where no release was made, nobody expects it to say anything."""
    if said is None:
        return all(one.revision.version is None for one in standings)
    told = {part.revision: part.percent for part in said.shares if part.percent}
    return told == {one.revision.name: one.percent for one in standings if one.percent}


def _repair(store: Store, model: str, standings: Sequence[Standing], who: str) -> str:
    """Write down what was found; return what came of it, in words."""
    if holder_of(store, model):
        return ""  # a release began meanwhile, and writes itself
    shares = tuple(one.part for one in standings if one.percent)
    event = Event(rollout="", kind="found", shares=shares, who=who, why="status found it so")
    try:
        ledger.append(store, model, event)
    except StoreError as error:
        return f"It could not be told so: {error.detail}"
    return "It was told so."


def _remarks(status: Status) -> list[str]:
    """Return what a person should know beside the split."""
    state = status.state
    remarks = [f"Cloud Run: {state.reason}"] if state.reason else []
    if state.reconciling or words(state.answering) != words(state.split):
        remarks.append(f"It is being changed; told was: {words(state.split)}")
    if status.unreleased:
        remarks.append(
            f"{status.unreleased.name} ({_version(status.unreleased)}, {_ready(status.unreleased)}) is not released: "
            "nothing goes to it"
        )
    if status.holder:
        remarks.append(f"A release is under way: {status.holder.words()}")
    if status.fault:
        remarks.append(f"Who is releasing cannot be told: {status.fault}")
    if _differs(status):
        remarks.append(f"The ledger said otherwise: {_said(status.said)}. {status.note}".strip())
    return remarks


def _differs(status: Status) -> bool:
    return status.said is not None or bool(status.note)


def _said(event: Event | None) -> str:
    return f"{parts_in_words(event.shares)} since {_text(event.time)}" if event else "nothing"


def _as_json(status: Status) -> dict[str, Any]:
    state, unreleased = status.state, status.unreleased
    return {
        "address": state.address,
        "reconciling": state.reconciling,
        "reason": state.reason,
        "follows_latest": state.follows_latest,
        "revisions": [
            _revision_as_json(one.revision)
            | {"percent": one.percent, "tags": one.tags, "addresses": [state.tag_addresses[tag] for tag in one.tags]}
            for one in status.standings
        ],
        "unreleased": _revision_as_json(unreleased) if unreleased else None,
        "holder": status.holder.model_dump(mode="json", exclude={"id", "machine", "started"})
        if status.holder
        else None,
        "ledger": {"agrees": not _differs(status), "said": _event_as_json(status.said), "note": status.note},
    }


def _revision_as_json(revision: Revision) -> dict[str, Any]:
    return {
        "revision": revision.name,
        "version": revision.version,
        "image": revision.image,
        "ready": revision.ready,
        "reason": revision.reason,
        "created": revision.created.isoformat(),
    }


def _event_as_json(event: Event | None) -> dict[str, Any] | None:
    return event.model_dump(mode="json") if event else None


def _period_as_json(period: Period) -> dict[str, Any]:
    return {
        **period._asdict(),
        "since": period.since.isoformat(),
        "until": period.until.isoformat() if period.until else None,
        "shares": [part.model_dump() for part in period.shares],
        "perhaps": [part.model_dump() for part in period.perhaps],
    }


def _answered(period: Period) -> str:
    perhaps = f", or {parts_in_words(period.perhaps)}" if period.perhaps else ""
    return f"{parts_in_words(period.shares)}{perhaps}"


def _warn_of(found: ledger.Ledger) -> None:
    if found.left_out:
        console.warn(f"{found.left_out} older events were not read; --all reads them")
    for fault in found.faults:
        console.warn(fault)


def _version(revision: Revision) -> str:
    return "none" if revision.version is None else str(revision.version)


def _ready(revision: Revision) -> str:
    return "ready" if revision.ready else revision.reason


def _text(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime(TIME) if moment else "now"
