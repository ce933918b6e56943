"""Run the double as a process: python -m tests.cloud --port 9000 --bucket models."""

from __future__ import annotations

import argparse
import contextlib
import signal

from tests.cloud.double import PROJECT, CloudDouble


def main() -> None:
    """Serve until SIGINT or SIGTERM; print the variables with which clients find the double."""
    parser = argparse.ArgumentParser(prog="python -m tests.cloud", description="A double of Google Cloud on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--project", default=PROJECT)
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME", help="make this bucket at the start")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it in order
    with (
        contextlib.suppress(KeyboardInterrupt),
        CloudDouble(port=options.port, project=options.project, buckets=options.bucket) as cloud,
    ):
        for name, value in cloud.environment.items():
            print(f"export {name}={value}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
