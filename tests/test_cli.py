"""The command line as people and scripts meet it: verbs, exit codes, stdout for the result and nothing else."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from function.contract import Manifest, Pin
from function.store import FileStore
from lifecycle import environment, metrics, recipe, training
from lifecycle.cli import cli, main
from tests.server import ROOT
from tests.test_data_checks import TRAIN
from tests.test_recipe import RECIPE, write_model
from tests.toys import TOYS, publish_toy

OF_A_STORE = ("train", "package", "versions", "show", "verify", "promote", "pin", "image", "record")
OF_AN_ENVIRONMENT = ("status", "history", "rollout", "rollback")
VERBS = (*OF_A_STORE, *OF_AN_ENVIRONMENT, "report")
# Age tells much of it, as a feature does, and not all of it, as a leak would.
LABELS = ["yes" if (age >= 30) != (age % 5 == 0) else "no" for age in range(60)]
FILES = ("model.joblib", "model.npz", "reference.json", "golden.jsonl", "card.md")


class Ran:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store's folder in which a toy has two versions, the first measured."""
    folder = tmp_path_factory.mktemp("two") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 3)
        publish_toy(FileStore(folder), "toy", TOYS["truth"](), measured=True)
    publish_toy(FileStore(folder), "toy", TOYS["truth"]())
    return folder


@pytest.fixture
def stored(two_versions: Path, tmp_path: Path) -> Path:
    """Return a copy of the store that a test may damage."""
    return Path(shutil.copytree(two_versions, tmp_path / "store"))


@pytest.fixture
def run(stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return the function that runs a verb in this process, on the store of two versions."""
    monkeypatch.setenv("MODEL_STORE", stored.as_uri())

    def run_verb(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["lifecycle", *map(str, arguments)])
        code = main()
        return Ran(code, *capsys.readouterr())

    return run_verb


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of models that the verbs read in place of models/, measured with few resamples."""
    monkeypatch.setattr(metrics, "RESAMPLES", 3)
    folder = tmp_path / "models"
    for verb in ("train", "train_changed", "package"):
        monkeypatch.setattr(training, verb, functools.partial(getattr(training, verb), models=folder))
    return folder


def trainable(models: Path, recipe: str = RECIPE) -> Path:
    """Write a model that trains in a moment, on rows beside it; return its folder."""
    folder = write_model(models, "tiny", recipe.replace("Yes", "yes"), TRAIN)
    frame = pd.DataFrame({"age": range(60), "label": LABELS})
    frame.to_csv(folder / "rows.csv", index=False)
    return folder


def artifact(folder: Path) -> tuple[Path, Path]:
    """Write a fitted pipeline and its examples; return both files."""
    pipeline, examples = folder / "pipeline.joblib", folder / "examples.csv"
    frame = pd.DataFrame({"age": range(60), "label": LABELS})
    frame.to_csv(examples, index=False)
    joblib.dump(LogisticRegression().fit(frame[["age"]], frame.label), pipeline)
    return pipeline, examples


def test_help_lists_every_verb_and_exit_code() -> None:
    """--help of the real command names what there is, and each verb explains itself."""
    done = subprocess.run(
        [sys.executable, "-m", "lifecycle", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(VERBS) == set(cli.commands)
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)
    assert all(f"{code} " in done.stdout for code in range(2, 10))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, run: Run) -> None:
    """A verb's help says what it does, and which variable may name the store or the environment, where one does."""
    done = run(verb, "--help")
    assert done.code == 0
    assert ("MODEL_STORE" in done.out) is (verb in OF_A_STORE)
    assert verb not in OF_AN_ENVIRONMENT or "ENVIRONMENT" in done.out
    assert cli.commands[verb].help.split(".")[0].split()[0] in done.out


def test_the_real_command_prints_the_trained_version(tmp_path: Path) -> None:
    """A process of its own, started elsewhere: the version on stdout, the steps on stderr, exit code 0."""
    trainable(tmp_path / "models")
    script = (
        "import functools, sys; from pathlib import Path; from lifecycle import metrics, training; "
        "metrics.RESAMPLES = 3; "
        f"training.train = functools.partial(training.train, models=Path({str(tmp_path / 'models')!r})); "
        "from lifecycle.cli import main; sys.argv[0] = 'lifecycle'; sys.exit(main())"
    )
    command = [sys.executable, "-c", script, "train", "tiny", "--store", (tmp_path / "store").as_uri()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        f"tiny version 1 is published in {(tmp_path / 'store').as_uri()}",
        "There is no champion: the next pin names version 1, the newest.",
    ]
    assert "roc_auc" in done.stdout
    assert "a line that a person reads" in done.stderr
    assert "train tiny: publishing" in done.stderr
    assert "a line that a person reads" not in done.stdout


def test_train_and_package_print_one_object(models: Path, run: Run, tmp_path: Path) -> None:
    """With --json stdout holds the new version and nothing else, whatever train.py prints."""
    trainable(models)
    made = run("train", "tiny", "--json").json
    assert (made["model"], made["version"], made["data"]) == ("tiny", 1, [])
    assert 0.7 < made["metrics"]["roc_auc"]["value"] < 1
    pipeline, examples = artifact(tmp_path)
    made = run("package", "brought", "--pipeline", pipeline, "--examples", examples, "--json").json
    assert (made["model"], made["version"], made["metrics"]) == ("brought", 1, {})


def test_a_new_version_tells_what_will_be_served(models: Path, run: Run) -> None:
    """Without a champion the new version is; a champion stays, and the command that promotes is given."""
    trainable(models)
    assert run("train", "tiny").out.endswith("There is no champion: the next pin names version 1, the newest.\n")
    run("promote", "tiny", "1")
    told = run("train", "tiny").out.splitlines()[-1]
    assert told.startswith("The champion still is version 1, and the next pin names it.")
    command = told.partition("python -m lifecycle ")[2]
    assert command == "promote tiny 2"
    assert run("train", "tiny", "--json").json["served"] == 1
    assert run(*command.split()).code == 0
    assert run("show", "tiny", "--json").json["version"] == 2


def test_versions_are_listed_with_their_aliases(run: Run) -> None:
    """Every version, oldest first, with what it is called and how good it is."""
    assert run("promote", "toy", "1").code == 0
    rows = run("versions", "toy", "--json").json
    assert [(row["version"], row["aliases"]) for row in rows] == [(1, ["champion"]), (2, [])]
    shown = run("versions", "toy")
    assert shown.code == 0
    assert "champion" in shown.out
    assert "not measured" in shown.out


def test_show_gives_the_card_or_the_manifest(run: Run, stored: Path) -> None:
    """People read the card, machines the manifest; without VERSION it is the champion, else the newest."""
    assert run("show", "toy").out.startswith("# toy, version 2")
    assert run("show", "toy", "1").out.rstrip("\n") == (stored / "toy/1/card.md").read_text().rstrip("\n")
    manifest = run("show", "toy", "1", "--json").json
    assert Manifest.model_validate(manifest).version == 1
    assert manifest == json.loads((stored / "toy/1/manifest.json").read_text())
    run("promote", "toy", "1")
    assert run("show", "toy", "champion", "--json").json["version"] == 1
    assert run("show", "toy", "--json").json["version"] == 1


def test_promote_moves_the_champion_and_tells_the_one_before(run: Run) -> None:
    """The way back after a bad promotion is in what the good one printed."""
    assert run("promote", "toy", "1").out == "champion of toy is version 1\n"
    assert run("promote", "toy", "2").out == "champion of toy is version 2, was 1\n"
    moved = run("promote", "toy", "1", "--json").json
    assert moved == {"model": "toy", "alias": "champion", "version": 1, "before": 2}
    assert run("promote", "toy", "9").code == 5
    assert run("show", "toy", "champion", "--json").json["version"] == 1


def test_pin_names_one_manifest_by_its_digest(run: Run, stored: Path, tmp_path: Path) -> None:
    """A pin is model, version and the SHA-256 of the manifest; no files are beside it unless asked for."""
    pinned = run("pin", "toy", "1", "--out", tmp_path / "pinned", "--json").json
    pin = Pin.model_validate_json((tmp_path / "pinned/pin.json").read_bytes())
    digest = hashlib.sha256((stored / "toy/1/manifest.json").read_bytes()).hexdigest()
    assert pin == Pin(model="toy", version=1, manifest_sha256=digest)
    assert pinned == pin.model_dump() | {"file": str(tmp_path / "pinned/pin.json"), "baked_bytes": 0}
    assert [path.name for path in (tmp_path / "pinned").iterdir()] == ["pin.json"]


def test_pin_takes_the_champion_else_the_newest(run: Run, tmp_path: Path) -> None:
    """What is served without being asked for is what was promoted, and before that the newest."""
    assert run("pin", "toy", "--out", tmp_path, "--json").json["version"] == 2
    run("promote", "toy", "1")
    assert run("pin", "toy", "--out", tmp_path, "--json").json["version"] == 1


def test_baked_files_are_named_by_their_digest(run: Run, stored: Path, tmp_path: Path) -> None:
    """Baking writes every file of the version and its manifest, each under the SHA-256 of its bytes."""
    pinned = run("pin", "toy", "1", "--out", tmp_path / "pinned", "--bake", "--json").json
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "pinned/blobs").iterdir()}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in blobs.items()} == {
        name: name for name in blobs
    }
    originals = {(stored / "toy/1" / name).read_bytes() for name in (*FILES, "manifest.json")}
    assert set(blobs.values()) == originals
    assert pinned["baked_bytes"] == sum(map(len, originals))


def test_what_is_damaged_is_not_baked(run: Run, stored: Path, tmp_path: Path) -> None:
    """A version that is not what was published gets neither files nor pin."""
    flip(stored / "toy/1/card.md")
    done = run("pin", "toy", "1", "--out", tmp_path / "pinned", "--bake")
    assert done.code == 9
    assert "card.md of toy 1 is not what was published" in done.err
    assert not (tmp_path / "pinned/pin.json").exists()


@pytest.mark.parametrize("bake", ["--bake", "--no-bake"])
def test_a_folder_that_cannot_be_written_is_named(bake: str, run: Run, tmp_path: Path) -> None:
    """A pin that has nowhere to go is an error that names the folder."""
    (tmp_path / "file").touch()
    done = run("pin", "toy", "1", "--out", tmp_path / "file" / "below", bake, "--json")
    assert done.code == 1
    expected = f"{tmp_path}/file/below: a folder that can be written is expected, found: Not a directory."
    assert done.json["error"]["message"].startswith(expected)


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_verify_loads_what_is_whole(run: Run) -> None:
    """A whole version is loaded as the image would, and its golden examples answered."""
    found = run("verify", "toy", "--json").json
    assert (found["model"], found["version"], found["engine"]) == ("toy", 2, "numpy")
    assert (found["proof"]["verdict"], found["proof"]["hard_rows"] > 0) == ("holds", True)
    assert found["files"] == dict.fromkeys(FILES, True)
    assert set(found["parts_ms"]) == {"import", "fetch", "verify", "load", "replay"}


@pytest.mark.parametrize("file", FILES)
def test_verify_detects_a_flipped_bit(file: str, run: Run, stored: Path) -> None:
    """One bit in any file of a version is found, and the file is named."""
    flip(stored / "toy/1" / file)
    done = run("verify", "toy", "1")
    assert (done.code, done.out) == (9, "")
    assert done.err.endswith(f"toy 1 is not what was published:\n  - {file}\n")


@pytest.mark.parametrize("file", FILES)
def test_verify_detects_a_lost_file(file: str, run: Run, stored: Path) -> None:
    """A file that is gone is a damaged version, not a failing store."""
    (stored / "toy/1" / file).unlink()
    done = run("verify", "toy", "1", "--json")
    assert (done.code, done.json["error"]["reasons"]) == (9, [file])


def edit(stored: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest of the first version."""
    file = stored / "toy/1/manifest.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


MANIFESTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no-json": (
        lambda stored: (stored / "toy/1/manifest.json").write_text("{"),
        "The manifest of toy 1 cannot be read",
    ),
    "unknown-key": (
        lambda stored: edit(stored, lambda m: m.update(colour="red")),
        "The manifest of toy 1 cannot be read",
    ),
    "of-another-version": (
        lambda stored: shutil.copy(stored / "toy/2/manifest.json", stored / "toy/1/manifest.json"),
        "The manifest of toy 1 is that of toy 2.",
    ),
    "other-digest": (
        lambda stored: edit(stored, lambda m: m["files"]["card.md"].update(sha256="0" * 64)),
        "toy 1 is not what was published:\n  - card.md",
    ),
    "other-library": (
        lambda stored: edit(stored, lambda m: m["libraries"].update({"scikit-learn": "1.2.3"})),
        "fitted with scikit-learn 1.2.3, this image has",
    ),
    "other-signature": (
        lambda stored: edit(stored, lambda m: m["signature"]["features"][0].update(type="text")),
        "A golden example does not fit the signature.",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_verify_detects_a_changed_manifest(case: str, run: Run, stored: Path) -> None:
    """A manifest that cannot be read, is another version's, or does not fit its files is found."""
    damage, expected = MANIFESTS[case]
    damage(stored)
    done = run("verify", "toy", "1")
    assert (done.code, done.out) == (9, "")
    assert expected in done.err


@pytest.mark.parametrize("content", ["{", "[1]", '{"champion": "one"}'])
def test_damaged_aliases_are_said(content: str, run: Run, stored: Path) -> None:
    """An aliases.json that cannot be read is named, with what was expected."""
    (stored / "toy/aliases.json").write_text(content)
    for verb in ("versions", "show"):
        done = run(verb, "toy")
        assert done.code == 9
        assert "toy/aliases.json cannot be read, expected version numbers by alias" in done.err


def broken_train(models: Path, tmp_path: Path) -> tuple[Any, ...]:
    """Return a training of a model whose train.py cannot be imported."""
    write_model(models, "tiny", train="import nosuch")
    return ("train", "tiny")


def strict_train(models: Path, tmp_path: Path) -> tuple[Any, ...]:
    """Return a training whose limit nobody could meet."""
    trainable(models, RECIPE.replace("0.5}", "1.5}"))
    return ("train", "tiny")


def empty_examples(models: Path, tmp_path: Path) -> tuple[Any, ...]:
    """Return a packaging with examples that hold no row."""
    pipeline, examples = artifact(tmp_path)
    examples.write_text("age,label\n")
    return ("package", "toy", "--pipeline", pipeline, "--examples", examples)


def garbage(models: Path, tmp_path: Path) -> tuple[Any, ...]:
    """Return a packaging of bytes that are no pipeline."""
    pipeline, examples = artifact(tmp_path)
    pipeline.write_bytes(b"\x80garbage")
    return ("package", "toy", "--pipeline", pipeline, "--examples", examples)


def endless_store(models: Path, tmp_path: Path) -> tuple[Any, ...]:
    """Return a listing of a store whose folder is a link to itself."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return ("versions", "toy", "--store", (tmp_path / "loop").as_uri())


def file_as_store(models: Path, tmp_path: Path) -> tuple[Any, ...]:
    """Return a training into a store that is a file."""
    trainable(models)
    (tmp_path / "file").touch()
    return ("train", "tiny", "--store", (tmp_path / "file").as_uri())


def damaged(models: Path, tmp_path: Path) -> tuple[Any, ...]:
    """Return the verification of a damaged version."""
    flip(tmp_path / "store/toy/1/model.joblib")
    return ("verify", "toy", "1")


ENDS: dict[str, tuple[Any, int, str]] = {
    "unknown-verb": (("tarin", "toy"), 2, "No such command 'tarin'"),
    "no-name": (("versions",), 2, "Missing argument 'NAME'"),
    "no-out": (("pin", "toy"), 2, "Missing option '--out'"),
    "no-such-file": (("package", "toy", "--pipeline", "nowhere.joblib", "--examples", "x.csv"), 2, "does not exist"),
    "store-is-a-path": (
        ("versions", "toy", "--store", "/tmp/store"),
        2,
        "expected gs://bucket/prefix or file:///folder",
    ),
    "store-of-s3": (("versions", "toy", "--store", "s3://bucket"), 2, "found 's3://bucket'"),
    "store-without-bucket": (("versions", "toy", "--store", "gs://"), 2, "expected gs://bucket/prefix"),
    "limit-missed": (strict_train, 3, "roc_auc: at least 1.5 expected, found 0.8"),
    "data-refused": (empty_examples, 4, "examples.csv holds no rows."),
    "no-model": (("versions", "nosuch"), 5, "nosuch has no version in file://"),
    "no-version": (("show", "toy", "7"), 5, "toy has no version 7 in file://"),
    "no-alias": (("show", "toy", "newest"), 5, "toy has no alias 'newest'"),
    "no-train-py": (("train", "nosuch"), 5, "the models are: none yet."),
    "name-leads-out": (("versions", "../toy"), 6, "a model is called by up to 40 lower-case letters"),
    "name-in-capitals": (("promote", "Toy", "1"), 6, "found 'Toy'"),
    "broken-train-py": (broken_train, 6, "models/tiny/train.py:1 cannot be imported: ModuleNotFoundError"),
    "no-artifact": (garbage, 7, "pipeline.joblib is no joblib or pickle file:"),
    "store-fails": (endless_store, 8, "The model store does not answer.\n  - file://"),
    "store-is-a-file": (file_as_store, 8, "The model store does not answer.\n  - "),
    "damaged-version": (damaged, 9, "toy 1 is not what was published:\n  - model.joblib"),
}


@pytest.mark.parametrize("case", ENDS)
def test_every_end_has_its_exit_code_and_says_why(case: str, models: Path, run: Run, tmp_path: Path) -> None:
    """A verb that stops says why on stderr; with --json the same stands on stdout as one object."""
    arguments, code, expected = ENDS[case]
    arguments = arguments(models, tmp_path) if callable(arguments) else arguments
    done = run(*arguments, "--json")
    assert done.code == code, done.err
    assert expected in done.err
    error = done.json["error"]
    assert set(error) == {"message", "reasons"}
    assert all(text in done.err for text in (error["message"], *error["reasons"]))


def test_every_exit_code_is_reached() -> None:
    """The table above reaches each code that --help lists."""
    assert {code for _, code, _ in ENDS.values()} == set(range(2, 10))


def test_without_json_an_error_leaves_stdout_empty(run: Run) -> None:
    """Errors are for stderr."""
    done = run("show", "toy", "7")
    assert (done.code, done.out) == (5, "")


def test_data_that_breaks_the_model_is_refused_until_it_is_accepted(models: Path, run: Run) -> None:
    """The refusal names the option that accepts the data, and with it the findings are handed back."""
    folder = trainable(models)
    assert run("train", "tiny", "--json").code == 0
    frame = pd.read_csv(folder / "rows.csv")
    frame.rename(columns={"age": "years"}).to_csv(folder / "rows.csv", index=False)
    done = run("train", "tiny", "--json")
    assert (done.code, done.json["error"]["reasons"]) == (4, ["age: expected a column, found none"])
    assert "--accept-data" in done.json["error"]["message"]
    made = run("train", "tiny", "--accept-data", "--json").json
    assert made["data"] == [
        "breaks: age: expected a column, found none",
        "changed: years: expected no such column, found a new one",
    ]


def test_examples_that_break_the_model_are_refused_until_they_are_accepted(
    models: Path, run: Run, tmp_path: Path
) -> None:
    """`package` compares and refuses as `train` does, and takes the same option."""
    pipeline, examples = artifact(tmp_path)
    taken = ("package", "toy", "--pipeline", pipeline, "--examples", examples, "--json")
    done = run(*taken)
    assert (done.code, done.json["error"]["reasons"]) == (4, ["label: expected a target column, found none"])
    assert "--accept-data" in done.json["error"]["message"]
    made = run(*taken, "--accept-data").json
    assert made["version"] == 3
    assert "breaks: label: expected a target column, found none" in made["data"]


def test_without_its_packages_the_command_says_which_python(tmp_path: Path) -> None:
    """Started by a Python without the packages, the command names the one that has them, without a traceback."""
    command = [sys.executable, "-S", "-m", "lifecycle", "versions", "toy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no module click" in done.stderr
    assert "Use .venv/bin/python" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_what_changed_is_trained_and_the_others_go_on(models: Path, run: Run) -> None:
    """Of several models each is said to be made, to stay or to fail; the code is the first failure's."""
    (trainable(models) / "fitted").touch()  # what fit() leaves behind would be a change of the folder
    done = run("train", "tiny", "--changed", "--json")
    assert (done.code, done.json["stays"], done.json["changed"]) == (0, False, ["there is no version yet"])
    write_model(models, "broken", train="import nosuch")
    write_model(models, "worse", train="def load(): return 1\n\n\ndef fit(train): pass\n")
    done = run("train", "broken", "tiny", "worse", "nosuch", "--changed", "--json")
    assert done.code == 6
    broken, tiny, worse, nosuch = done.json
    assert (broken["model"], broken["exit_code"], worse["exit_code"], nosuch["exit_code"]) == ("broken", 6, 6, 5)
    assert "cannot be imported" in broken["error"]["reasons"][0]
    assert (tiny["model"], tiny["version"], tiny["stays"]) == ("tiny", 1, True)
    told = run("train", "broken", "tiny", "--changed")
    assert told.code == 6
    assert "broken: models/broken cannot be used yet:" in told.err
    text = "tiny version 1 stays: neither its folder, its data, the code that makes versions nor the locked libraries"
    assert told.out == f"{text} changed\n"
    assert run("versions", "tiny", "--json").json[0]["aliases"] == ["challenger"]


def test_without_names_every_model_of_the_environment_is_meant(
    models: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's file names the models; one that was packaged by hand has nothing to train."""
    trainable(models)
    lines = [f'{name} = "x"' for name in ("project", "region", "prefix", "model_bucket")]
    (tmp_path / "dev.tfvars").write_text("\n".join([*lines, "models = { tiny = {}, toy = {} }"]))
    read = functools.partial(environment.read_environment, folder=tmp_path)
    monkeypatch.setattr(environment, "read_environment", read)
    monkeypatch.setattr(recipe, "MODELS", models)
    done = run("train", "--changed", "--json")
    assert (done.code, [row["model"] for row in done.json]) == (0, ["tiny"])
    assert "toy has no models/toy/train.py" in done.err
    done = run("train", "--changed", "--environment", "nowhere", "--json")
    assert (done.code, "the environments are: dev." in done.json["error"]["message"]) == (5, True)
    assert run("train").code == 2
    assert run("train", "tiny", "--accept", " ").code == 2


def test_a_draft_becomes_a_report_and_nothing_else(models: Path, run: Run, stored: Path, tmp_path: Path) -> None:
    """For a pull request: what would be is written into a folder, refusals too, and the store stays as it was."""
    trainable(models)
    write_model(models, "broken", train="import nosuch")
    before = sorted(stored.rglob("*"))
    drafts = tmp_path / "drafts"
    done = run("train", "tiny", "broken", "--draft", drafts)
    assert done.code == 6
    assert f"tiny version 1 is drafted in {drafts.as_uri()}/store" in done.out
    assert sorted(stored.rglob("*")) == before
    assert run("train", "tiny", "--changed", "--draft", drafts, "--json").json["stays"] is False
    done = run("report", "--draft", drafts, "--out", tmp_path / "report.md")
    assert done.out == f"{tmp_path}/report.md says what would become of broken, tiny\n"
    text = (tmp_path / "report.md").read_text()
    assert "| tiny | a first version |" in text
    assert "Made anew: there is no version yet." in text
    assert "models/broken/train.py:1 cannot be imported" in text
    done = run("report", "tiny", "--draft", drafts, "--out", tmp_path / "report.md", "--json")
    assert [draft["model"] for draft in done.json["drafts"]] == ["tiny"]
    assert run("report", "other", "--draft", drafts, "--out", tmp_path / "report.md").code == 5
    assert run("report", "--draft", drafts, "--out", drafts).code == 2
    assert run("report", "--draft", drafts, "--out", tmp_path / "no/where.md").code == 1


SERVES = {
    "has-a-version": (0, ["versions churn", "pin churn"], 0),
    "has-none": (5, ["versions churn", "train churn", "pin churn"], 0),
    "store-fails": (8, ["versions churn"], 2),
    "aliases-damaged": (9, ["versions churn"], 2),
}


@pytest.mark.parametrize("case", SERVES)
def test_make_serve_trains_only_what_has_no_version(case: str, tmp_path: Path) -> None:
    """`make serve` trains on the exit code that says so; any other failure is shown and ends it."""
    code, verbs, ended = SERVES[case]
    log = tmp_path / "log"
    script = f'#!/bin/sh\necho "$3 $4" >> {log}\n[ "$3" = versions ] && echo why >&2 && exit {code}\nexit 0\n'
    for name, content in (("python", script), ("functions-framework", "#!/bin/sh\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "ready").touch()
    command = ["make", "serve", f"BIN={tmp_path}", f"READY={tmp_path}/ready", f"PINNED={tmp_path}/pins", "MODEL=churn"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=False)
    assert log.read_text().splitlines() == verbs
    assert done.returncode == ended, done.stderr
    assert ("why" in done.stderr) is bool(ended)


def test_the_option_wins_over_the_environment(run: Run, tmp_path: Path) -> None:
    """--store says where to look, MODEL_STORE where nothing is said."""
    assert run("versions", "toy").code == 0
    assert run("versions", "toy", "--store", (tmp_path / "elsewhere").as_uri()).code == 5


def test_without_a_store_the_folder_under_build_is_meant(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is said where nothing is found in it."""
    monkeypatch.delenv("MODEL_STORE")
    done = run("versions", "no-such-model")
    assert done.code == 5
    assert f"{ROOT.as_uri()}/build/store" in done.err


def test_a_wrong_variable_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A MODEL_STORE that is no URL is refused by its name."""
    monkeypatch.setenv("MODEL_STORE", "build/store")
    done = run("versions", "toy")
    assert done.code == 2
    assert "MODEL_STORE" in done.err
    assert "expected gs://bucket/prefix or file:///folder, found 'build/store'" in done.err
