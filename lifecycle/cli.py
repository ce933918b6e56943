"""The verbs, as a command line."""

import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from function.contract import CARD, COMPILED, FITTED, GOLDEN, Manifest, Proof
from function.store import Store, StoreError, open_store
from lifecycle import console
from lifecycle.card import describe_engine
from lifecycle.environment import Environment, read_environment
from lifecycle.errors import LifecycleError, StoreFailed, VerifyFailed
from lifecycle.pinning import bake, pin_of, read_whole, write_pin
from lifecycle.versions import (
    CHAMPION,
    Version,
    check_name,
    find_number,
    list_numbers,
    move_alias,
    read_aliases,
    read_version,
)

DEFAULT_STORE = Path(__file__).resolve().parent.parent / "build" / "store"


class StoreUrl(click.ParamType[Store]):
    """A store, given by its URL."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Store:
        """Return the store; fail with what was expected."""
        try:
            return open_store(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ModelName(click.ParamType[str]):
    """A model's name: it becomes a folder of the store, and must not lead out of it."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; raises RecipeInvalid for one that no model has."""
        return check_name(value)


class EnvironmentName(click.ParamType[Environment]):
    """An environment of infra/, given by its name."""

    name = "environment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Environment:
        """Return the environment; raises Missing, or RecipeInvalid."""
        return read_environment(value) if isinstance(value, str) else value


class Moment(click.ParamType[datetime]):
    """A moment that has been, given as ISO 8601 writes it; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment; fail with what was expected."""
        try:
            given = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            self.fail(f"a time such as 2026-11-07T12:00 or 2026-11-07T13:00:30+01:00 is expected, found {value!r}")
        moment = given if given.tzinfo else given.replace(tzinfo=UTC)
        if moment > datetime.now(UTC):
            self.fail(f"a time that has been is expected, found {value!r}: nobody knows who will answer")
        return moment


def _of_environment(command: Callable[..., None]) -> Callable[..., None]:
    environment = click.option(
        "--environment",
        type=EnvironmentName(),
        envvar="ENVIRONMENT",
        default="dev",
        show_default=True,
        show_envvar=True,
        help="An environment of infra/: ENVIRONMENT.tfvars",
    )
    return environment(click.option("--json", "as_json", is_flag=True, help="Print JSON for machines")(command))


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    store = click.option(
        "--store",
        type=StoreUrl(),
        envvar="MODEL_STORE",
        default=DEFAULT_STORE.as_uri(),
        show_envvar=True,
        help="gs://bucket/prefix or file:///folder",
    )
    return store(click.option("--json", "as_json", is_flag=True, help="Print JSON for machines")(command))


@click.group()
def cli() -> None:
    """From training to traffic.

    Exit codes: 0 done, 2 unreadable command line, 3 a limit is missed, 4 the data was refused, 5 no such model or
    version, 6 model.yaml or train.py is wrong, 7 the artifact was refused, 8 the store failed, 9 verification failed,
    10 a release was refused or rolled back, 11 Google's APIs failed, 12 somebody else releases, 13 nothing to release.
    """


@cli.command()
@click.argument("name", type=ModelName())
@click.option("--accept-data", is_flag=True, help="Train although the data breaks what the last version was made of")
@_shared
def train(name: str, accept_data: bool, store: Store, as_json: bool) -> None:
    """Run models/NAME/train.py, hold it to model.yaml, package and publish it."""
    from lifecycle import training

    with console.progress(f"train {name}") as say:
        made = training.train(store, name, say, accept_data=accept_data)
    _show_made(made, store, as_json)


@cli.command()
@click.argument("name", type=ModelName())
@click.option(
    "--pipeline", "pipeline_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True
)
@click.option(
    "--examples", "examples_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True
)
@click.option("--target", "targets", multiple=True, help="Target column of the examples; may be given several times")
@click.option("--accept-data", is_flag=True, help="Publish although the examples break what the last version took")
@_shared
def package(
    name: str,
    pipeline_file: Path,
    examples_file: Path,
    targets: tuple[str, ...],
    accept_data: bool,
    store: Store,
    as_json: bool,
) -> None:
    """Publish a pipeline that someone else fitted, described by example rows."""
    from lifecycle import training

    with console.progress(f"package {name}") as say:
        made = training.package(store, name, pipeline_file, examples_file, targets, say, accept_data=accept_data)
    _show_made(made, store, as_json)


@cli.command()
@click.argument("name", type=ModelName())
@_shared
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
@_shared
def show(name: str, version: str | None, store: Store, as_json: bool) -> None:
    """Show one version: its card, or its whole manifest as JSON. VERSION is a number or an alias."""
    found = read_version(store, name, find_number(store, name, version))
    if as_json:
        console.emit(found.manifest.model_dump(mode="json"))
    else:
        console.markdown(store.get(f"{name}/{found.manifest.version}/{CARD}").content.decode())


@cli.command()
@click.argument("name", type=ModelName())
@click.argument("version", required=False)
@_shared
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
@_shared
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
@_shared
def pin(name: str, version: str | None, out: Path, bake: bool | None, store: Store, as_json: bool) -> None:
    """Write the pin of VERSION, else of champion, else of the newest version."""
    found = read_version(store, name, find_number(store, name, version))
    baking = bool(found.manifest.recipe.get("serving", {}).get("bake")) if bake is None else bake
    baked_bytes = _bake(store, found, out) if baking else 0
    file = write_pin(found, out)  # last: a pin that exists has its bytes beside it
    if as_json:
        console.emit(pin_of(found).model_dump() | {"file": str(file), "baked_bytes": baked_bytes})
    else:
        beside = f", with {baked_bytes / 1e6:.1f} MB beside it" if baking else ""
        console.say(f"{name} {found.manifest.version} is pinned by {file}{beside}")


@cli.command()
@click.argument("name", type=ModelName())
@_of_environment
def status(name: str, environment: Environment, as_json: bool) -> None:
    """Show who answers now, by the cloud itself; the ledger is told where it says otherwise."""
    from lifecycle.google_apis import release_credentials, signed_in
    from lifecycle.rollout import standing
    from lifecycle.rollout.cloud_run import Endpoint

    credentials = release_credentials(environment)
    store = open_store(environment.store, credentials=credentials)
    with closing(store), Endpoint(environment, name, credentials) as endpoint:
        found = standing.look(endpoint, store, name, signed_in())
    standing.show_status(found, as_json)


@cli.command()
@click.argument("name", type=ModelName())
@click.option("--at", "moment", type=Moment(), help="One moment, such as 2026-11-07T12:00 (UTC) or ...T13:00+01:00")
@click.option("--all", "everything", is_flag=True, help="Read every event, however long ago")
@_of_environment
def history(name: str, moment: datetime | None, everything: bool, environment: Environment, as_json: bool) -> None:
    """Show who answered from when to when, or at one moment."""
    from lifecycle.google_apis import release_credentials
    from lifecycle.rollout import standing

    with closing(open_store(environment.store, credentials=release_credentials(environment))) as store:
        if moment is None:
            answered, found = standing.look_back(store, name, None if everything else standing.MOST_EVENTS)
            standing.show_history(answered, found, as_json)
        else:
            standing.show_moment(*standing.look_back_at(store, name, moment), as_json)


def main() -> int:
    """Run the command line; return its exit code."""
    as_json = "--json" in sys.argv
    try:
        cli.main(standalone_mode=False)
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
    return 0


def _show_made(made: Any, store: Store, as_json: bool) -> None:
    manifest: Manifest = made.version.manifest
    findings = [f"{finding.level}: {finding}" for finding in made.findings]
    champion = read_aliases(store, manifest.model).get(CHAMPION)
    if as_json:
        served = champion or manifest.version
        beside = {"store": store.url, "data": findings, "load_ms": made.load_ms, "served": served}
        console.emit(_row(manifest, []) | beside)
        return
    for text in [*findings, *manifest.notes]:
        console.warn(text)
    if manifest.metrics:
        rows = [
            (name, f"{metric.value:.4f}", f"{metric.low:.4f} to {metric.high:.4f}")
            for name, metric in manifest.metrics.items()
        ]
        console.table(("metric", "value", "95 % interval"), rows)
    console.say(describe_engine(manifest))
    console.say(f"{manifest.model} version {manifest.version} is published in {store.url}")
    console.say(_served_text(manifest, champion))


def _served_text(manifest: Manifest, champion: int | None) -> str:
    """Return which version the next pin names, and how to make it this one."""
    if champion is None:
        return f"There is no {CHAMPION}: the next pin names version {manifest.version}, the newest."
    command = f"python -m lifecycle promote {manifest.model} {manifest.version}"
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
