"""python -m lifecycle VERB; outside the environment that make sets up, it says so and ends."""

import sys


def run() -> int:
    """Run the command line; return its exit code."""
    try:
        from lifecycle.cli import main

        return main()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("function", "lifecycle"):
            raise
        text = f"{sys.executable} has no module {error.name}; the lifecycle's packages are expected"
        print(f"{text}. Use .venv/bin/python; `make serve` and `make test` set it up.", file=sys.stderr)
        return 2


sys.exit(run())
