"""Sees to it that no instance outlives the double, however the double ends: run as a script, it is what kills them.

The guard leads a process group that every instance joins, and reads a pipe whose other end only the double holds.
When the double ends, by SIGKILL too, the pipe ends, and the guard kills the group. PR_SET_PDEATHSIG would need no
process, but its signal comes when the *thread* that started an instance ends, and threads here end with requests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


class Guard:
    """A process group that dies with this process; the guarding process starts with the first one that asks."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def group(self) -> int:
        """The process group to start instances in."""
        with self._lock:
            if self._process is None:
                command = [sys.executable, "-I", "-S", str(Path(__file__).resolve())]
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)
            return self._process.pid

    def close(self) -> None:
        """Kill whatever is left of the group, grandchildren too."""
        with self._lock:
            if self._process is not None:
                self._process.communicate()
                self._process = None


if __name__ == "__main__":
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)
