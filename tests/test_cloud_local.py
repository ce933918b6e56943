"""Builds carried out on this machine: order, variables, texts, time limits, failures, and an end for everything."""

import base64
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cloud import CloudDouble
from tests.cloud.cloudbuild import local
from tests.cloud.discovery import Document
from tests.cloud.schemas import Json
from tests.server import ROOT

VALUES = {"_RUN": "deliver", "_EMPTY": "", "PROJECT_ID": "p"}
WAIT_SECONDS = 20.0

Run = Callable[..., "Outcome"]


class Outcome:
    """What became of a build: how it ended and what its steps said, in order."""

    def __init__(self, build: Json, said: list[str]) -> None:
        self.build = build
        self.said = said

    @property
    def status(self) -> str:
        """The build's status."""
        return str(self.build["status"])

    @property
    def steps(self) -> dict[str, str]:
        """Each step's status."""
        return {step.get("id", str(index)): step["status"] for index, step in enumerate(self.build["steps"])}


def parsed(text: str) -> Json:
    """Return a build that is written as cloudbuild.yaml is; steps need no image here."""
    found: Json = yaml.safe_load(text)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return the function that carries out a build in an empty folder."""

    def carry_out(text: str, skipped: dict[str, str] | None = None, **environment: str) -> Outcome:
        said: list[str] = []
        machine = {"PATH": os.environ["PATH"], **environment}
        return Outcome(local.run(parsed(text), VALUES, tmp_path, machine, said.append, skipped), said)

    return carry_out


def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never held"
        threading.Event().wait(0.01)


def test_steps_run_in_order_in_one_folder(run: Run, tmp_path: Path) -> None:
    """A step that names nothing waits for all before it; their folder is the same, and output says whose it is."""
    ended = run("""
        steps:
          - {id: first, script: "echo one > file; echo written"}
          - {id: second, script: "cat file; echo aside >&2"}
        """)
    assert (ended.status, ended.steps) == ("SUCCESS", {"first": "SUCCESS", "second": "SUCCESS"})
    assert ended.said == ["first  | written", "second | one", "second | aside"]
    assert (tmp_path / "file").read_text() == "one\n"


def test_steps_run_side_by_side_where_the_build_says_so(run: Run) -> None:
    """Two steps that wait for nothing run at the same time: each ends only when it has met the other."""
    meet = "touch $ME; while [ ! -e $OTHER ]; do sleep 0.01; done"
    ended = run(f"""
        steps:
          - {{id: a, waitFor: ['-'], env: [ME=a, OTHER=b], script: "{meet}"}}
          - {{id: b, waitFor: ['-'], env: [ME=b, OTHER=a], script: "{meet}"}}
          - {{id: c, waitFor: [a], script: "ls"}}
        timeout: {WAIT_SECONDS}s
        """)
    assert ended.status == "SUCCESS"
    assert ended.said == ["c | a", "c | b"]


def test_a_step_waits_for_those_that_it_names(run: Run) -> None:
    """One that names a step starts when that has ended, whatever else still runs."""
    ended = run(f"""
        steps:
          - {{id: slow, waitFor: ['-'], script: "while [ ! -e go ]; do sleep 0.01; done; echo slow"}}
          - {{id: quick, waitFor: ['-'], script: "echo quick"}}
          - {{id: after, waitFor: [quick], script: "echo after; touch go"}}
          - {{id: last, script: "echo last"}}
        timeout: {WAIT_SECONDS}s
        """)
    assert ended.said == ["quick | quick", "after | after", "slow  | slow", "last  | last"]


def test_a_failure_ends_the_build(run: Run, tmp_path: Path) -> None:
    """When a step fails, those beside it are ended and those after it are not started."""
    ended = run("""
        steps:
          - {id: beside, waitFor: ['-'], script: "trap 'touch ended; exit 0' TERM; touch there; sleep 60 & wait"}
          - {id: bad, waitFor: ['-'], script: "while [ ! -e there ]; do sleep 0.01; done; exit 3"}
          - {id: after, script: "touch never"}
        """)
    assert ended.status == "FAILURE"
    assert ended.steps == {"beside": "CANCELLED", "bad": "FAILURE", "after": "QUEUED"}
    assert ended.build["steps"][1]["exitCode"] == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ended", "there"]


ALLOWED: dict[str, tuple[str, str, str]] = {
    "nothing": ("", "FAILURE", "QUEUED"),
    "any failure": ("allowFailure: true, ", "SUCCESS", "SUCCESS"),
    "this code": ("allowExitCodes: [3, 4], ", "SUCCESS", "SUCCESS"),
    "another code": ("allowExitCodes: [4], ", "FAILURE", "QUEUED"),
    "any failure, another code": ("allowFailure: true, allowExitCodes: [4], ", "SUCCESS", "SUCCESS"),
}


@pytest.mark.parametrize(("allowed", "status", "after"), ALLOWED.values(), ids=ALLOWED)
def test_a_failure_may_be_allowed(allowed: str, status: str, after: str, run: Run) -> None:
    """A step that may fail keeps its status, and the build goes on; allowFailure goes before the list of codes."""
    ended = run(f"""
        steps:
          - {{id: bad, {allowed}script: "exit 3"}}
          - {{id: after, script: "true"}}
        """)
    assert (ended.status, ended.steps) == (status, {"bad": "FAILURE", "after": after})


def test_a_step_has_its_time(run: Run) -> None:
    """A step that takes longer than it may is ended with all that it started; another's limit does not touch it."""
    ended = run("""
        steps:
          - {id: quick, timeout: 60s, script: "true"}
          - {id: late, timeout: 0.2s, script: "sleep 60 & echo $!; wait"}
          - {id: after, script: "true"}
        """)
    assert (ended.status, ended.steps) == ("TIMEOUT", {"quick": "SUCCESS", "late": "TIMEOUT", "after": "QUEUED"})
    assert not is_alive(int(ended.said[0].removeprefix("late  | ")))


def test_what_a_step_started_may_end_in_order(run: Run) -> None:
    """A program that outlives the shell that began it, because it has something to give back, gets the time for it."""
    ended = run("""
        steps:
          - id: late
            timeout: 0.5s
            script: |
              #!/usr/bin/env bash
              bash -c 'trap "sleep 0.5; echo given back; exit" TERM; while :; do sleep 0.1; done'
              true
        """)
    assert (ended.status, ended.said[-1]) == ("TIMEOUT", "late | given back")


def test_a_late_step_may_be_allowed(run: Run) -> None:
    """A step that may fail may be late, too."""
    ended = run("""
        steps:
          - {id: late, timeout: 0.2s, allowFailure: true, script: "sleep 60"}
          - {id: after, script: "sleep 0.1; echo after"}
        """)
    assert (ended.status, ended.steps) == ("SUCCESS", {"late": "TIMEOUT", "after": "SUCCESS"})


def test_a_build_has_its_time(run: Run) -> None:
    """A build that takes longer than it may ends with TIMEOUT, and its steps are cancelled."""
    ended = run("""
        steps:
          - {id: long, allowFailure: true, script: "sleep 60"}
          - {id: after, script: "true"}
        timeout: 0.2s
        """)
    assert (ended.status, ended.steps) == ("TIMEOUT", {"long": "CANCELLED", "after": "QUEUED"})


def test_what_a_step_leaves_running_ends_with_it(run: Run) -> None:
    """As a container would: a process in the background neither holds the build up nor outlives its step."""
    ended = run("""
        steps:
          - {id: a, script: "sleep 60 & echo $!"}
        """)
    assert ended.status == "SUCCESS"
    assert not is_alive(int(ended.said[0].removeprefix("a | ")))


def test_variables_come_from_four_places(run: Run) -> None:
    """The machine's, then the substitutions where they are mapped, then the build's, then the step's own win."""
    show = "echo $A $B ${_RUN-none} ${_EMPTY-none} ${PROJECT_ID-none}"
    ended = run(
        f"""
        steps:
          - {{id: a, env: [B=step], script: "{show}"}}
          - {{id: b, automapSubstitutions: false, script: "{show}"}}
          - {{id: c, env: ["_RUN=x", "A=a=b"], script: "{show}"}}
        options: {{automapSubstitutions: true, env: ["A=build-$_RUN-${{PROJECT_ID}}"]}}
        """,
        A="machine",
        B="machine",
    )
    assert ended.said == [
        "a | build-deliver-p step deliver p",
        "b | build-deliver-p machine none none none",
        "c | a=b machine x p",
    ]


def test_texts_are_filled_in_and_scripts_are_not(run: Run) -> None:
    """Names in args stand for their values, two dollars for one; a script reads variables, and keeps its dollars."""
    ended = run("""
        steps:
          - {id: a, entrypoint: echo, args: ["$_RUN", "${_RUN}x", "$$_RUN", "$_NONE."]}
          - {id: b, env: [_RUN=shell], script: "echo $_RUN $(echo $$ | grep -c .)"}
        """)
    assert ended.said == ["a | deliver deliverx $_RUN .", "b | shell 1"]


def test_a_script_names_its_interpreter(run: Run) -> None:
    """The first line says who reads a script; without it that is sh."""
    ended = run("""
        steps:
          - id: python
            script: |
              #!/usr/bin/env python3
              print(1 + 1)
          - {id: shell, script: "echo ${BASH_VERSION:-no bash}"}
        """)
    assert ended.said[0] == "python | 2"
    assert ended.status == "SUCCESS"


def test_a_step_runs_in_its_folder(run: Run, tmp_path: Path) -> None:
    """`dir` is below the folder of the build, and may name values."""
    (tmp_path / "deliver").mkdir()
    ended = run("steps: [{id: a, dir: $_RUN, script: 'basename $PWD'}]")
    assert ended.said == ["a | deliver"]


def test_what_a_step_gives_is_kept(run: Run) -> None:
    """What is written to $BUILDER_OUTPUT/output is in the build's results, the first 50 kB of it."""
    ended = run("""
        steps:
          - {id: a, script: "echo given > $BUILDER_OUTPUT/output"}
          - {id: b, script: "head -c 60000 /dev/zero > $BUILDER_OUTPUT/output"}
          - {id: c, script: "true"}
        """)
    outputs = [base64.b64decode(text) for text in ended.build["results"]["buildStepOutputs"]]
    assert outputs[0] == b"given\n"
    assert [len(output) for output in outputs] == [6, 50_000, 0]


def test_steps_can_be_skipped(run: Run) -> None:
    """A skipped step counts as done, and the reason is said; a step that there is not cannot be skipped."""
    build = "steps: [{id: a, script: 'exit 1'}, {id: b, waitFor: [a], script: 'echo b'}]"
    ended = run(build, {"a": "it takes ten minutes"})
    assert (ended.status, ended.said) == ("SUCCESS", ["a | skipped: it takes ten minutes", "b | b"])
    with pytest.raises(local.CannotRun, match="other, which is to be skipped and is no step"):
        run(build, {"other": "why not"})


def test_a_make_does_not_reach_into_a_steps_make(run: Run) -> None:
    """What make was told on its command line is not what a step's make is told."""
    ended = run("steps: [{id: a, script: 'echo $MAKEFLAGS $MAKELEVEL.'}]", MAKEFLAGS="-- RUN=verify", MAKELEVEL="1")
    assert ended.said == ["a | ."]


FAULTS = {
    "two of one name": ("steps: [{id: a, script: x}, {id: a, script: x}]", "two steps that are called a"),
    "later step": ("steps: [{id: a, waitFor: [b], script: x}, {id: b, script: x}]", "a waits for 'b'"),
    "script and args": ("steps: [{id: a, script: x, args: [y]}]", "a has a script, and args"),
    "image alone": ("steps: [{id: a, name: docker, args: [y]}]", "what its image would start is not known"),
    "secrets": ("steps: [{id: a, script: x, secretEnv: [T]}]", "secretEnv of a"),
    "artifacts": ("{steps: [{id: a, script: x}], images: [i]}", "images of a build"),
    "volumes": ("{steps: [{id: a, script: x}], options: {volumes: [{name: v}]}}", "options.volumes"),
    "no duration": ("{steps: [{id: a, script: x}], timeout: 10m}", "the timeout '10m' of the build"),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_is_not_carried_out_is_refused(text: str, fault: str, run: Run, tmp_path: Path) -> None:
    """Before anything is started, a build is refused for what would be passed over."""
    with pytest.raises(local.CannotRun, match=fault.replace("(", r"\(")):
        run(text.replace("script: x", "script: 'touch started'"))
    assert not list(tmp_path.iterdir())


def is_alive(process: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody asked after does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from tests.cloud.cloudbuild import local
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts tests in the background has it ignored
build = {"steps": [{"id": "a", "script": "echo $$ > parent; sleep 600 & echo $! > child; mv child there; wait"}]}
local.run(build, {}, Path(sys.argv[1]), dict(os.environ), print)
"""


def test_an_interrupt_ends_everything(tmp_path: Path) -> None:
    """After Ctrl-C neither the runner, nor its step, nor what the step started is there."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE
    ) as runner:
        eventually((tmp_path / "there").exists)
        started = [int((tmp_path / name).read_text()) for name in ("parent", "there")]
        assert all(map(is_alive, started))
        runner.send_signal(signal.SIGINT)
        assert runner.wait(WAIT_SECONDS) != 0
        eventually(lambda: not any(map(is_alive, started)))


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Return a double."""
    with CloudDouble() as double:
        yield double


def test_a_build_that_ended_fits_the_apis_description(run: Run) -> None:
    """Every field that a runner adds is one of Build's, of its type."""
    ended = run("steps: [{id: a, name: x, script: 'exit 2', allowFailure: true}, {id: b, name: x, script: 'true'}]")
    schemas = Document.load("cloudbuild", "v1").schemas
    schemas.accept("Build", ended.build, "")
    assert ended.build["steps"][0]["exitCode"] == 2
