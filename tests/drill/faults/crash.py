"""Dies of a segmentation fault when it loads its version, as a broken binary package does."""

import os
import signal

from function import endpoint


def load_model(*_: object, **__: object) -> None:
    """End the process."""
    os.kill(os.getpid(), signal.SIGSEGV)


endpoint.load_model = load_model  # type: ignore[assignment]
