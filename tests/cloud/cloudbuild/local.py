"""A build carried out on this machine: the very steps of its configuration, in their order, with local programs.

As at Cloud Build: waitFor, env, dir, substitutions in texts and as variables where they are automapped, the interpreter
that a script names, time limits, allowFailure and allowExitCodes, $BUILDER_OUTPUT. Containers there are none: a step's
image is not looked at. What is not carried out (secrets, volumes, artifacts) is refused before anything is started.
https://cloud.google.com/build/docs/build-config-file-schema
"""

from __future__ import annotations

import base64
import contextlib
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cloud.cloudbuild import substitutions
from tests.cloud.project import now
from tests.cloud.schemas import Json

# What would have to be there for a step to mean what it says.
UNKNOWN_STEP = ("secretEnv", "volumes", "results")
UNKNOWN_BUILD = ("artifacts", "availableSecrets", "dependencies", "images", "secrets")
UNKNOWN_OPTIONS = ("secretEnv", "volumes")
AT_ONCE = "-"
ENDED = ("FAILURE", "TIMEOUT")
DURATION = re.compile(r"(\d+(?:\.\d+)?)s")
OUTPUT_BYTES = 50_000  # of what a step writes to $BUILDER_OUTPUT/output, this much is kept
GRACE_SECONDS = 60.0  # a release that is asked to end takes the traffic back first
# What make hands on to a make that it starts: a step's own make is told by its step alone.
MAKES_OWN = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")

Say = Callable[[str], None]


class CannotRun(Exception):
    """The build says something that is not carried out here, or nothing that could be; nothing was started."""


def run(
    build: Json,
    values: Mapping[str, str],
    workspace: Path,
    environment: Mapping[str, str],
    say: Say,
    skipped: Mapping[str, str] | None = None,
) -> Json:
    """Carry out a build in a folder; return it as it ended: its status, its steps' and what they gave.

    `values` are the names that its steps may use, `environment` is what the machine has; steps in `skipped` count as
    done, for the reason that is given there. An interrupt ends every step and goes on its way.

    Raises CannotRun.
    """
    passed = skipped or {}
    _check(build, passed)
    started = now()
    with tempfile.TemporaryDirectory() as folder:
        steps = [_Step(index, body, Path(folder)) for index, body in enumerate(build["steps"])]
        machine = _Machine(build, values, workspace, _without_make(environment), say)
        status = _carry_out(steps, machine, passed)
        outputs = [base64.b64encode(step.given()).decode() for step in steps]
    return {
        **build,
        "status": status,
        "startTime": started,
        "finishTime": now(),
        "steps": [step.as_json() for step in steps],
        "results": {"buildStepOutputs": outputs},
    }


def names(build: Json) -> list[str]:
    """Return what each step is called: its id, else its place in the list."""
    return [step.get("id") or f"step {index}" for index, step in enumerate(build["steps"])]


@dataclass(frozen=True)
class _Machine:
    build: Json
    values: Mapping[str, str]
    workspace: Path
    environment: Mapping[str, str]
    say: Say


@dataclass
class _Step:
    """One step: what it says, and how far it is."""

    index: int
    body: Json
    folder: Path
    status: str = "QUEUED"
    process: subprocess.Popen[str] | None = None
    started: float = 0.0
    code: int | None = None
    asked_to_end: bool = False
    followed: threading.Thread = field(default_factory=threading.Thread)
    timing: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.body.get("id") or f"step {self.index}"

    @property
    def deadline(self) -> float:
        limit = _seconds(self.body.get("timeout"))
        return self.started + limit if self.process and limit else float("inf")

    @property
    def output(self) -> Path:
        return self.folder / f"output-{self.index}"

    def given(self) -> bytes:
        file = self.output / "output"
        return file.read_bytes()[:OUTPUT_BYTES] if file.is_file() else b""

    def may_fail(self) -> bool:
        return bool(self.body.get("allowFailure")) or self.code in (self.body.get("allowExitCodes") or [])

    def as_json(self) -> Json:
        told: dict[str, Any] = {"status": self.status}
        if self.timing:
            told["timing"] = self.timing
        if self.status in ("SUCCESS", "FAILURE") and self.code is not None:
            told["exitCode"] = self.code
        return {**self.body, **told}


def _carry_out(steps: list[_Step], machine: _Machine, skipped: Mapping[str, str]) -> str:
    """Start each step as soon as those that it waits for are done, until all are, or one failed; return the status."""
    width = max(len(step.name) for step in steps)
    ended: queue.Queue[_Step] = queue.Queue()
    limit = time.monotonic() + (_seconds(machine.build.get("timeout")) or float("inf"))
    status = "SUCCESS"
    try:
        while status == "SUCCESS":
            for step in _startable(steps):
                if step.name in skipped:
                    _pass_over(step, machine, width, skipped[step.name])
                else:
                    _start(step, machine, width, ended)
            if _startable(steps):
                continue
            working = [step for step in steps if step.status == "WORKING"]
            if not working:
                break
            status = _await(working, limit, ended)
    finally:
        for step in steps:
            if step.status == "WORKING":
                _end(step)
                step.status = "CANCELLED"
    return status


def _startable(steps: list[_Step]) -> list[_Step]:
    done = {step.name for step in steps if step.status == "SUCCESS" or (step.status in ENDED and step.may_fail())}
    return [step for step in steps if step.status == "QUEUED" and _needs(step, steps) <= done]


def _needs(step: _Step, steps: list[_Step]) -> set[str]:
    """Return the steps that one waits for: those that it names, or all before it."""
    named = step.body.get("waitFor") or []
    if named:
        return set(named) - {AT_ONCE}
    return {other.name for other in steps[: step.index]}


def _await(working: list[_Step], limit: float, ended: queue.Queue[_Step]) -> str:
    """Wait until a step ends, or a time limit does; return the status of the build."""
    first = min([limit, *(step.deadline for step in working)])
    try:
        step = ended.get(timeout=None if first == float("inf") else max(0.0, first - time.monotonic()))
    except queue.Empty:
        late = [step for step in working if step.deadline <= time.monotonic()]
        if not late:
            return "TIMEOUT"
        return _conclude(late[0], "TIMEOUT")
    if step.status != "WORKING":  # it was late, and what that makes of the build is said already
        return "SUCCESS"
    return _conclude(step, "SUCCESS" if step.code == 0 else "FAILURE")


def _conclude(step: _Step, status: str) -> str:
    """Write down how a step ended; return what that makes of the build."""
    if status == "TIMEOUT":
        _end(step)
    step.status = status
    step.timing["endTime"] = now()
    return "SUCCESS" if status == "SUCCESS" or step.may_fail() else status


def _pass_over(step: _Step, machine: _Machine, width: int, reason: str) -> None:
    machine.say(f"{step.name:{width}} | skipped: {reason}")
    step.status = "SUCCESS"


def _start(step: _Step, machine: _Machine, width: int, ended: queue.Queue[_Step]) -> None:
    step.output.mkdir()
    step.status, step.started = "WORKING", time.monotonic()
    step.timing["startTime"] = now()
    step.process = subprocess.Popen(
        _command(step, machine),
        cwd=machine.workspace / substitutions.fill_in(step.body.get("dir", ""), machine.values),
        env=_environment(step, machine),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that all that it starts can be ended with it
    )
    step.followed = threading.Thread(target=_follow, args=(step, machine.say, width, ended), daemon=True)
    step.followed.start()


def _follow(step: _Step, say: Say, width: int, ended: queue.Queue[_Step]) -> None:
    """Say each line of a step, then that it ended; what it left running ends as its container would."""
    assert step.process is not None and step.process.stdout is not None
    lines = threading.Thread(target=_say_lines, args=(step, say, width), daemon=True)
    lines.start()
    step.code = step.process.wait()
    if not step.asked_to_end:
        _signal(step, signal.SIGKILL)
    lines.join()
    step.process.stdout.close()
    ended.put(step)


def _say_lines(step: _Step, say: Say, width: int) -> None:
    assert step.process is not None and step.process.stdout is not None
    for line in step.process.stdout:
        say(f"{step.name:{width}} | {line.rstrip()}")


def _end(step: _Step) -> None:
    """End a step and all that it started: first asked to, then killed."""
    assert step.process is not None
    step.asked_to_end = True
    _signal(step, signal.SIGTERM)
    step.followed.join(
        GRACE_SECONDS
    )  # until nobody has its output any more: a child may outlive the shell that began it
    _signal(step, signal.SIGKILL)
    step.process.wait()


def _signal(step: _Step, number: int) -> None:
    assert step.process is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(step.process.pid, number)


def _command(step: _Step, machine: _Machine) -> list[str]:
    script = step.body.get("script")
    if script is None:
        texts = [step.body["entrypoint"], *step.body.get("args", [])]
        return [substitutions.fill_in(text, machine.values) for text in texts]
    file = step.folder / f"script-{step.index}"
    file.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}", encoding="utf-8")
    file.chmod(0o700)
    return [str(file)]


def _environment(step: _Step, machine: _Machine) -> dict[str, str]:
    """Return a step's variables: the machine's, the substitutions where they are mapped, the build's, its own."""
    options = machine.build.get("options") or {}
    mapped = step.body.get("automapSubstitutions", options.get("automapSubstitutions", False))
    written = [*(options.get("env") or []), *(step.body.get("env") or [])]
    own = dict(substitutions.fill_in(line, machine.values).split("=", 1) for line in written)
    chosen = machine.values if mapped else {}
    return {**machine.environment, **chosen, **own, "BUILDER_OUTPUT": str(step.output)}


def _check(build: Json, skipped: Mapping[str, str]) -> None:
    """Refuse what is not carried out here; raises CannotRun with every fault."""
    options, known = build.get("options") or {}, names(build)
    faults = [f"{name} of a build" for name in UNKNOWN_BUILD if build.get(name)]
    faults += [f"options.{name}" for name in UNKNOWN_OPTIONS if options.get(name)]
    faults += [f"two steps that are called {name}" for name in sorted(set(known)) if known.count(name) > 1]
    faults += [f"{name}, which is to be skipped and is no step" for name in skipped if name not in known]
    faults += _limit_faults("the build", build)
    for index, step in enumerate(build["steps"]):
        faults += _step_faults(step, known[index], known[:index])
    if faults:
        raise CannotRun("This build cannot be carried out here: " + "; ".join(faults))


def _step_faults(step: Json, name: str, before: list[str]) -> Iterator[str]:
    yield from (f"{field} of {name}" for field in UNKNOWN_STEP if step.get(field))
    unknown = [other for other in step.get("waitFor") or [] if other not in (AT_ONCE, *before)]
    yield from (f"{name} waits for {other!r}, which no step before it is called" for other in unknown)
    has_command = bool(step.get("args") or step.get("entrypoint"))
    if step.get("script") is not None and has_command:
        yield f"{name} has a script, and args or an entrypoint beside it"
    if step.get("script") is None and not step.get("entrypoint"):
        yield f"{name} says no script and no entrypoint, and what its image would start is not known"
    yield from _limit_faults(name, step)


def _limit_faults(name: str, body: Json) -> Iterator[str]:
    if (limit := body.get("timeout")) and not DURATION.fullmatch(limit):
        yield f"the timeout {limit!r} of {name}, which is written as 600s"


def _without_make(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in MAKES_OWN}


def _seconds(duration: str | None) -> float | None:
    """Return a duration as the API writes it: "600s"."""
    if not duration:
        return None
    return float(duration.removesuffix("s"))
