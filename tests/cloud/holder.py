"""A local cloud that outlives the command which needed it: `make deliver` starts one and the next finds it.

It ends by `make stop`, when its folder goes (make clean), or when nobody has asked it anything for two hours.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from lifecycle.environment import Environment
from tests.cloud.installation import (
    CannotGoOn,
    Place,
    find_target,
    install,
    read_ready,
    running,
    settings_file,
    work_folder,
)
from tests.server import ROOT

IDLE_SECONDS = 2 * 3600.0
LOOK_SECONDS = 0.5
START_SECONDS = 600.0
STOP_SECONDS = 60.0


def main() -> int:
    """Hold a cloud; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cloud.holder")
    parser.add_argument("--environment", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it ends in order
    try:
        target = find_target(options.environment)
        with contextlib.suppress(KeyboardInterrupt), running(target, options.port) as place:
            install(place, *sorted(target.models))
            _hold(place)
    except CannotGoOn as fault:
        print(fault, flush=True)
        return 1
    return 0


def hold(target: Environment, port: int) -> None:
    """Start a process that holds a cloud, show what it does, and return when the cloud is ready.

    Raises CannotGoOn: it ended instead.
    """
    folder = work_folder(port)
    log = folder.with_suffix(".log")
    log.parent.mkdir(exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)  # of a cloud that was killed: nobody answers for it
    command = [sys.executable, "-m", "tests.cloud.holder", "--environment", target.name, "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _show(log, process, folder)
    except BaseException:  # whoever gives up leaves nothing half made
        process.terminate()
        process.wait(STOP_SECONDS)
        raise


def is_answering(folder: Path) -> bool:
    """Tell whether the cloud of a folder answers."""
    file = settings_file(folder)
    if not file.is_file():
        return False
    address = next(line for line in file.read_text().splitlines() if "STORAGE_EMULATOR_HOST=" in line)
    try:
        return httpx2.get(f"{address.partition('=')[2]}/_double/", timeout=20, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def stop(port: int) -> str:
    """End the cloud on a port; return what became of it, in words."""
    folder = work_folder(port)
    ready = read_ready(folder)
    if ready is None or not is_answering(folder):
        return f"There is no local cloud on port {port}."
    os.kill(ready.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while folder.exists():
        if time.monotonic() > deadline:
            raise CannotGoOn(f"The local cloud on port {port} (process {ready.pid}) does not end.")
        time.sleep(0.05)
    return f"The local cloud on port {port} has ended; what was delivered to it is gone."


def _show(log: Path, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Print a log as it grows, until the cloud is ready."""
    deadline = time.monotonic() + START_SECONDS
    with log.open() as lines:
        while True:
            ended, ready = process.poll() is not None, read_ready(folder) is not None
            print(lines.read(), end="", flush=True)
            if ended:
                raise CannotGoOn("The local cloud did not start.")
            if ready:
                return
            if time.monotonic() > deadline:
                raise CannotGoOn(f"The local cloud is not ready after {START_SECONDS:.0f} s.")
            time.sleep(0.05)


def _hold(place: Place) -> None:
    """Wait for a reason to end."""
    asked, since = -1, time.monotonic()
    for _ in _ticks():
        if not settings_file(place.folder).exists():
            return
        if len(place.cloud.requests) != asked:
            asked, since = len(place.cloud.requests), time.monotonic()
        if time.monotonic() - since > IDLE_SECONDS:
            return


def _ticks() -> Iterator[None]:
    while True:
        time.sleep(LOOK_SECONDS)
        yield


if __name__ == "__main__":
    sys.exit(main())
