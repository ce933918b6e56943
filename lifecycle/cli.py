"""The verbs, as a command line."""

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import click

from function.contract import CARD, COMPILED, FITTED, GOLDEN, Manifest, Proof
from function.store import FileStore, Store, StoreError, open_store
from lifecycle import console
from lifecycle.card import describe_engine
from lifecycle.decision import DECISION, describe_verdict
from lifecycle.errors import LifecycleError, StoreFailed, VerifyFailed
from lifecycle.options import Length, ModelName, Moment, as_json, in_environment, in_store
from lifecycle.pinning import bake, is_baked, pin_of, read_whole, write_pin
from lifecycle.versions import (
    CHAMPION,
    Version,
    find_number,
    list_numbers,
    move_alias,
    read_aliases,
    read_version,
)

OF_DRAFTS = "The folder that train --draft wrote"


class Place(NamedTuple):
    """Where a new version went, and how: it is published, or drafted."""

    store: Store
    done: str


@click.group()
def cli() -> None:
    """From training to traffic.

    Exit codes: 0 done, 2 unreadable command line, 3 a limit is missed, 4 the data was refused, 5 no such model or
    version, 6 model.yaml or train.py is wrong, 7 the artifact was refused, 8 the store failed, 9 verification failed,
    10 a release was refused or rolled back, 11 Google's APIs failed, 12 somebody else releases, 13 nothing to release.
    """


def _made_on_purpose(command: Callable[..., None]) -> Callable[..., None]:
    data = click.option("--accept-data", is_flag=True, help="Go on although the data breaks what the last version took")
    why = "Publish although the gate refuses, for this reason, which the version keeps"
    return data(click.option("--accept", metavar="REASON", callback=_said, help=why)(command))


def _said(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a reason; one of blanks is none."""
    if value is not None and not value.strip():
        raise click.BadParameter("a reason in words is expected, found nothing", ctx, param)
    return value


@cli.command()
@click.argument("names", nargs=-1, type=ModelName())
@click.option("--changed", is_flag=True, help="Train only what changed; without NAMES, of all that ENVIRONMENT has")
@click.option(
    "--draft",
    type=click.Path(file_okay=False, path_type=Path),
    help="Publish nothing: write what would be into this folder, for the verb report",
)
@in_environment
@_made_on_purpose
@in_store
def train(
    names: tuple[str, ...],
    changed: bool,
    draft: Path | None,
    environment: str,
    accept_data: bool,
    accept: str | None,
    store: Store,
    as_json: bool,
) -> None:
    """Run models/NAME/train.py, hold it to model.yaml and to the champion, package and publish it.

    Of several models the others go on when one fails; the exit code is the first failure's.
    """
    from lifecycle import training
    from lifecycle.report import describe_draft, save_draft

    if not names and not changed:
        raise click.UsageError("Missing argument 'NAMES...'; without it, --changed is expected.")
    drafts = FileStore(draft.resolve() / "store") if draft else None
    work = training.train_changed if changed else training.train
    outcomes: dict[str, Any] = {}
    for name in names or _models_of(environment, store):
        with console.progress(f"train {name}") as say:
            wishes = {"accept_data": accept_data, "accept": accept, "drafts": drafts}
            outcomes[name] = _attempt(lambda name=name, say=say, wishes=wishes: work(store, name, say, **wishes))  # type: ignore[misc]
        if draft:
            save_draft(draft, describe_draft(name, outcomes[name]))
    place = Place(drafts or store, "drafted" if drafts else "published")
    if len(names) == 1:
        _show_one(outcomes[names[0]], place, as_json)
    else:
        _show_all(outcomes, place, as_json)


@cli.command()
@click.argument("name", type=ModelName())
@click.option(
    "--pipeline", "pipeline_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True
)
@click.option(
    "--examples", "examples_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True
)
@click.option("--target", "targets", multiple=True, help="Target column of the examples; may be given several times")
@_made_on_purpose
@in_store
def package(
    name: str,
    pipeline_file: Path,
    examples_file: Path,
    targets: tuple[str, ...],
    accept_data: bool,
    accept: str | None,
    store: Store,
    as_json: bool,
) -> None:
    """Publish a pipeline that someone else fitted, described by example rows."""
    from lifecycle import training

    with console.progress(f"package {name}") as say:
        made = training.package(
            store, name, pipeline_file, examples_file, targets, say, accept_data=accept_data, accept=accept
        )
    _show_one(made, Place(store, "published"), as_json)


@cli.command()
@click.argument("name", type=ModelName())
@in_store
def versions(name: str, store: Store, as_json: bool) -> None:
    """List a model's versions."""
    aliases = read_aliases(store, name)
    find_number(store, name, None)  # none at all is an error
    found = [read_version(store, name, number).manifest for number in list_numbers(store, name)]
    rows = [
        _row(manifest, [alias for alias, number in aliases.items() if number == manifest.version]) for manifest in found
    ]
    if as_json:
        console.emit(rows)
        return
    cells = [
        (row["version"], ", ".join(row["aliases"]), row["created_at"], row["engine"], _metrics_text(row["metrics"]))
        for row in rows
    ]
    console.table(("version", "aliases", "created", "engine", "metrics"), cells)


@cli.command()
@click.argument("name", type=ModelName())
@click.argument("version", required=False)
@in_store
def show(name: str, version: str | None, store: Store, as_json: bool) -> None:
    """Show one version: its card, or its whole manifest and decision as JSON. VERSION is a number or an alias."""
    found = read_version(store, name, find_number(store, name, version))
    if as_json:
        decision = read_whole(store, found, DECISION) if DECISION in found.manifest.files else None
        beside = {"decision": json.loads(decision)} if decision else {}
        console.emit(found.manifest.model_dump(mode="json") | beside)
    else:
        console.markdown(store.get(f"{name}/{found.manifest.version}/{CARD}").content.decode())


@cli.command()
@click.argument("name", type=ModelName())
@click.argument("version", required=False)
@in_store
def verify(name: str, version: str | None, store: Store, as_json: bool) -> None:
    """Check every file of a version, load it as the image would, replay its golden examples, repeat its proof."""
    with console.progress(f"verify {name}") as say:
        found = read_version(store, name, find_number(store, name, version))
        say("checking files")
        files = _check_files(store, found)
        damaged = [file for file, whole in files.items() if not whole]
        if damaged:
            raise VerifyFailed(f"{name} {found.manifest.version} is not what was published:", damaged)
        say("loading it with the image's packages")
        result = _rehearse(store, found)
        if found.manifest.engine == "numpy":
            say("repeating the proof")
        proof = _prove_again(store, found)
    if as_json:
        repeated = proof.model_dump() if proof else None
        console.emit({"model": name, "version": found.manifest.version, "files": files, **result, "proof": repeated})
    else:
        console.table(("part of the load", "ms"), [(part, f"{ms:.1f}") for part, ms in result["parts_ms"].items()])
        text = f"{len(files)} files whole, golden examples answered as recorded by the {result['engine']} engine."
        console.say(f"{name} {found.manifest.version}: {text}")
        if proof:
            rows = f"{proof.rows} golden and {proof.hard_rows} hard rows ({proof.refused_rows} refused by both)"
            console.say(f"The compiled model answers {rows} as the fitted pipeline does.")
        else:
            console.say(f"There is no proof to repeat. {describe_engine(found.manifest)}")


@cli.command()
@click.argument("name", type=ModelName())
@click.argument("version")
@in_store
def promote(name: str, version: str, store: Store, as_json: bool) -> None:
    """Let the alias champion name VERSION."""
    number = find_number(store, name, version)
    before = move_alias(store, name, CHAMPION, number)
    if as_json:
        console.emit({"model": name, "alias": CHAMPION, "version": number, "before": before})
    else:
        console.say(f"{CHAMPION} of {name} is version {number}" + (f", was {before}" if before else ""))


@cli.command()
@click.argument("name", type=ModelName())
@click.argument("version", required=False)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where pin.json is written"
)
@click.option("--bake/--no-bake", default=None, help="Write the version's files too; model.yaml's serving.bake decides")
@in_store
def pin(name: str, version: str | None, out: Path, bake: bool | None, store: Store, as_json: bool) -> None:
    """Write the pin of VERSION, else of champion, else of the newest version."""
    found = read_version(store, name, find_number(store, name, version))
    baking = is_baked(found) if bake is None else bake
    baked_bytes = _bake(store, found, out) if baking else 0
    file = write_pin(found, out)  # last: a pin that exists has its bytes beside it
    if as_json:
        console.emit(pin_of(found).model_dump() | {"file": str(file), "baked_bytes": baked_bytes})
    else:
        beside = f", with {baked_bytes / 1e6:.1f} MB beside it" if baking else ""
        console.say(f"{name} {found.manifest.version} is pinned by {file}{beside}")


@cli.command()
@click.argument("name", type=ModelName(), required=False)
@click.argument("version", required=False)
@click.option("--changed", is_flag=True, help="Release what is not where it should be, of every model or of NAME")
@click.option("--image", help="Another image than that of this checkout's code, by its digest: NAME@sha256:...")
@click.option(
    "--minutes",
    type=Length(1 / 60, 10_000),
    envvar="ROLLOUT_MINUTES",
    show_envvar=True,
    help="Minutes a step, instead of model.yaml's",
)
@click.option(
    "--every",
    type=Length(0.2, 3600),
    default=20.0,
    show_default=True,
    envvar="ROLLOUT_EVERY",
    show_envvar=True,
    help="Seconds between looks",
)
@click.option("--shadow", type=Length(1 / 60, 10_000), help="Stay at 0 %, and replay for so many minutes")
@click.option("--again", is_flag=True, help="Although it was refused or rolled back before")
@in_environment
@as_json
def rollout(
    name: str | None,
    version: str | None,
    changed: bool,
    image: str | None,
    minutes: float | None,
    every: float,
    shadow: float | None,
    again: bool,
    environment: str,
    as_json: bool,
) -> int:
    """Release VERSION of a model by the judge: without one, the challenger, else the champion."""
    from lifecycle.rollout import verbs
    from lifecycle.rollout.release import Options

    if not changed and name is None:
        raise click.UsageError("Say which model, or --changed for all that the environment serves.")
    patience = verbs.DELIVERY_PATIENCE if changed else timedelta(0)
    options = Options(image, minutes, every, again, shadow, patience)
    return verbs.rollout(environment, name, version, options, changed=changed, as_json=as_json)


@cli.command()
@click.argument("name", type=ModelName())
@in_environment
@as_json
def status(name: str, environment: str, as_json: bool) -> None:
    """Show who answers now, by the cloud itself; the ledger is told where it says otherwise."""
    from lifecycle.environment import read_environment
    from lifecycle.google_apis import release_credentials, signed_in
    from lifecycle.rollout import status as of_service
    from lifecycle.rollout.cloud_run import Endpoint

    target = read_environment(environment)
    credentials = release_credentials(target)
    store = open_store(target.store, credentials=credentials)
    with closing(store), Endpoint(target, name, credentials) as endpoint:
        found = of_service.look(endpoint, store, name, signed_in())
    of_service.show_status(found, as_json)


@cli.command()
@click.argument("name", type=ModelName())
@click.option("--to", type=int, help="A version that served before, instead of the one before this")
@in_environment
@as_json
def rollback(name: str, to: int | None, environment: str, as_json: bool) -> None:
    """Take the last release back: all traffic to the revision before it, at once. Safe to repeat."""
    from lifecycle.rollout import verbs

    verbs.rollback(environment, name, to, as_json=as_json)


@cli.command()
@click.argument("names", nargs=-1, type=ModelName())
@click.option("--changed", is_flag=True, help="Of every model that the environment serves, or of NAMES among them")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where folders are written"
)
@in_environment
@in_store
def image(names: tuple[str, ...], changed: bool, out: Path, environment: str, store: Store, as_json: bool) -> None:
    """Put together what goes into images that the registry does not have; `make build` builds and pushes them."""
    from lifecycle.environment import read_environment
    from lifecycle.google_apis import release_credentials
    from lifecycle.image import check_served, prepare

    if not names and not changed:
        raise click.UsageError("Missing argument 'NAMES...'; without it, --changed is expected.")
    target = read_environment(environment)
    check_served(target, names)
    credentials = release_credentials(target)
    outcomes: dict[str, Any] = {}
    with console.progress("image") as say:
        for name in names or sorted(target.models):
            say(name)
            outcomes[name] = _attempt(lambda name=name: prepare(store, target, name, out, credentials))  # type: ignore[misc]
    _show_images(outcomes, as_json)


@cli.command()
@click.argument("notes", type=click.Path(file_okay=False, path_type=Path))
@click.option("--build", envvar="BUILD_ID", show_envvar=True, help="Which build delivered")
@click.option("--commit", envvar="COMMIT_SHA", show_envvar=True, help="What was delivered")
@click.option("--run", envvar="_RUN", show_envvar=True, help="What the build was started for")
@in_environment
@in_store
def record(
    notes: Path, build: str | None, commit: str | None, run: str | None, environment: str, store: Store, as_json: bool
) -> None:
    """Keep what a delivery came to, whose steps left their exit codes in NOTES; fails where one of them did."""
    from lifecycle import delivery
    from lifecycle.environment import read_environment

    facts = {"run": run, "commit": commit, "build": build}
    delivered = delivery.record(store, read_environment(environment), notes, facts)
    if as_json:
        console.emit(delivered.record)
    else:
        console.markdown(delivered.text)
        console.say(f"Kept as {store.url}/{delivered.key}.md")
    delivery.check(delivered)


@cli.command()
@click.argument("name", type=ModelName())
@click.option("--at", "moment", type=Moment(), help="One moment, such as 2026-11-07T12:00 (UTC) or ...T13:00+01:00")
@click.option("--all", "everything", is_flag=True, help="Read every event, however long ago")
@in_environment
@as_json
def history(name: str, moment: datetime | None, everything: bool, environment: str, as_json: bool) -> None:
    """Show who answered from when to when, or at one moment."""
    from lifecycle.environment import read_environment
    from lifecycle.google_apis import release_credentials
    from lifecycle.rollout import ledger
    from lifecycle.rollout import status as of_service

    target = read_environment(environment)
    with closing(open_store(target.store, credentials=release_credentials(target))) as store:
        if moment is None:
            answered, found = of_service.look_back(store, name, None if everything else ledger.MOST_EVENTS)
            of_service.show_history(answered, found, as_json)
        else:
            of_service.show_moment(*of_service.look_back_at(store, name, moment), as_json)


@cli.command()
@click.argument("names", nargs=-1, type=ModelName())
@click.option("--draft", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help=OF_DRAFTS)
@click.option("--plan", type=click.Path(dir_okay=False, path_type=Path), help="What `make plan SAVE=FILE` kept")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines")
def report(names: tuple[str, ...], draft: Path, plan: Path | None, out: Path, as_json: bool) -> None:
    """Write as Markdown what drafts would change: metrics beside the champion's, limits, decision, cold start."""
    from lifecycle.plan import read_plan
    from lifecycle.report import model_section, plan_section, read_drafts, write_report

    drafts = read_drafts(draft, names)
    planned = [plan_section(read_plan(plan))] if plan else []
    try:
        out.write_text(write_report([*map(model_section, drafts), *planned]), encoding="utf-8")
    except OSError as error:
        raise LifecycleError(f"{out} cannot be written: {error.strerror}. Name another file.") from error
    if as_json:
        console.emit({"file": str(out), "drafts": [one.model_dump(mode="json") for one in drafts]})
    else:
        console.say(f"{out} says what would become of {', '.join(one.model for one in drafts)}")


def main() -> int:
    """Run the command line; return its exit code."""
    as_json = "--json" in sys.argv
    try:
        code = cli.main(standalone_mode=False)
    except click.Abort:
        return 130
    except click.ClickException as error:
        if as_json:
            console.emit({"error": {"message": error.format_message(), "reasons": []}})
        error.show()
        return error.exit_code
    except StoreError as error:
        failed = StoreFailed(error.message, [error.detail])
        console.fail(failed, as_json)
        return failed.exit_code
    except LifecycleError as error:
        console.fail(error, as_json)
        return error.exit_code
    return code if isinstance(code, int) else 0  # what a verb gave to Context.exit


def _models_of(environment: str, store: Store) -> list[str]:
    """Return the models of an environment; one that was packaged by hand has nothing to train, and is said so."""
    from lifecycle.environment import read_environment
    from lifecycle.recipe import MODELS

    names = list(read_environment(environment).models)
    by_hand = [name for name in names if not (MODELS / name).is_dir() and list_numbers(store, name)]
    for name in by_hand:
        console.warn(f"{name} has no models/{name}/train.py: its versions are packaged by hand, and it stays as it is")
    return [name for name in names if name not in by_hand]


def _attempt(work: Callable[[], Any]) -> Any:
    """Return what came of work, be it an error that others need not suffer from."""
    try:
        return work()
    except StoreError as error:
        return StoreFailed(error.message, [error.detail])
    except LifecycleError as error:
        return error


def _show_one(outcome: Any, place: Place, as_json: bool) -> None:
    if isinstance(outcome, LifecycleError):
        raise outcome
    if as_json:
        console.emit(_outcome_row(outcome, place))
    else:
        _show(outcome, place)


def _show_all(outcomes: dict[str, Any], place: Place, as_json: bool) -> None:
    """Show what became of each model; end with the first failure's exit code."""
    failed = [one for one in outcomes.values() if isinstance(one, LifecycleError)]
    if as_json:
        rows = [
            {"model": name, "exit_code": one.exit_code, **console.as_object(one)}
            if isinstance(one, LifecycleError)
            else _outcome_row(one, place)
            for name, one in outcomes.items()
        ]
        console.emit(rows)
    for name, one in outcomes.items():
        if isinstance(one, LifecycleError):
            console.warn(f"{name}: {one}")
        elif not as_json:
            _show(one, place)
    if failed:
        click.get_current_context().exit(failed[0].exit_code)


def _show_images(outcomes: dict[str, Any], as_json: bool) -> None:
    """Show what became of each model's image; end with the first failure's exit code."""
    failed = {name: one for name, one in outcomes.items() if isinstance(one, LifecycleError)}
    if as_json:
        console.emit([{"model": name, **_image_row(one)} for name, one in outcomes.items()])
    for name, one in outcomes.items():
        if name in failed:
            console.warn(f"{name}: {one}")
        elif not as_json:
            console.say(_image_text(name, one))
    if failed:
        click.get_current_context().exit(next(iter(failed.values())).exit_code)


def _image_row(outcome: Any) -> dict[str, Any]:
    if isinstance(outcome, LifecycleError):
        return {"exit_code": outcome.exit_code, **console.as_object(outcome)}
    return outcome._asdict() if outcome else {"reference": None}


def _image_text(name: str, outcome: Any) -> str:
    if outcome is None:
        return f"{name} has no version, and so no image"
    return f"{outcome.reference}: {f'to be built of {outcome.folder}' if outcome.folder else 'there already'}"


def _outcome_row(outcome: Any, place: Place) -> dict[str, Any]:
    """Return a new version, or the one that stays, for machines."""
    manifest: Manifest = outcome.version.manifest
    served = read_aliases(place.store, manifest.model).get(CHAMPION) or manifest.version
    row = _row(manifest, []) | {"store": place.store.url, "served": served}
    if not hasattr(outcome, "findings"):
        return row | {"stays": True, "changed": []}
    decision = outcome.decision.model_dump(mode="json") if outcome.decision else None
    findings = [f"{finding.level}: {finding}" for finding in outcome.findings]
    made = {"data": findings, "load_ms": outcome.load_ms, "changed": list(outcome.changed), "decision": decision}
    return row | {"stays": False} | made


def _show(outcome: Any, place: Place) -> None:
    """Show a new version, or the one that stays, to a person."""
    manifest: Manifest = outcome.version.manifest
    if not hasattr(outcome, "findings"):
        text = "neither its folder, its data, the code that makes versions nor the locked libraries changed"
        console.say(f"{manifest.model} version {manifest.version} stays: {text}")
        return
    for finding in outcome.findings:
        console.warn(f"{finding.level}: {finding}")
    for text in [*manifest.notes, *(outcome.decision.reasons if outcome.decision else ())]:
        console.warn(text)
    if manifest.metrics:
        rows = [
            (name, f"{metric.value:.4f}", f"{metric.low:.4f} to {metric.high:.4f}")
            for name, metric in manifest.metrics.items()
        ]
        console.table(("metric", "value", "95 % interval"), rows)
    if outcome.decision:
        console.say(describe_verdict(outcome.decision))
    console.say(describe_engine(manifest))
    console.say(f"{manifest.model} version {manifest.version} is {place.done} in {place.store.url}")
    if place.done == "published":
        console.say(_served_text(place.store, manifest))


def _served_text(store: Store, manifest: Manifest) -> str:
    """Return which version is served, and how to make it this one: by a release where there is an endpoint."""
    champion, name = read_aliases(store, manifest.model).get(CHAMPION), f"{manifest.model} {manifest.version}"
    if store.url.startswith("gs://"):
        answers = f"Version {champion} is the {CHAMPION}" if champion else f"There is no {CHAMPION} yet"
        return f"{answers}. A release makes it this one, if its judge agrees: python -m lifecycle rollout {name}"
    if champion is None:
        return f"There is no {CHAMPION}: the next pin names version {manifest.version}, the newest."
    command = f"python -m lifecycle promote {name}"
    return f"The {CHAMPION} still is version {champion}, and the next pin names it. To serve the new one: {command}"


def _row(manifest: Manifest, aliases: list[str]) -> dict[str, Any]:
    return {
        "model": manifest.model,
        "version": manifest.version,
        "aliases": aliases,
        "created_at": manifest.created_at,
        "engine": manifest.engine,
        "metrics": {name: metric.model_dump() for name, metric in manifest.metrics.items()},
        "notes": list(manifest.notes),
    }


def _metrics_text(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {metric['value']:.3f}" for name, metric in list(metrics.items())[:3]) or "not measured"


def _check_files(store: Store, version: Version) -> dict[str, bool]:
    return {name: read_whole(store, version, name) is not None for name in version.manifest.files}


def _prove_again(store: Store, version: Version) -> Proof | None:
    """Repeat the proof of a version that the numpy engine serves."""
    from lifecycle.proof import prove_again

    if version.manifest.engine != "numpy":
        return None
    contents = [read_whole(store, version, name) or b"" for name in (FITTED, COMPILED, GOLDEN)]
    return prove_again(version.manifest, *contents)


def _rehearse(store: Store, version: Version) -> dict[str, Any]:
    from lifecycle.errors import ArtifactRefused
    from lifecycle.rehearsal import rehearse_load

    with tempfile.TemporaryDirectory() as folder:
        try:
            return rehearse_load(write_pin(version, Path(folder)), store.url, version.manifest.engine)
        except ArtifactRefused as error:
            raise VerifyFailed(
                f"{version.manifest.model} {version.manifest.version}: {error.message}", error.reasons
            ) from error


def _bake(store: Store, version: Version, folder: Path) -> int:
    with console.progress("pin") as say:
        say("baking the version's files")
        return bake(store, version, folder)
