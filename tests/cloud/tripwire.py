"""A proxy that lets nothing through and writes down who tried, so that tests can prove that nothing left loopback.

Go and Python programs send requests for loopback addresses past HTTPS_PROXY, so only escapes arrive here.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

# Whoever signs in with an account's key lets google-auth ask, in the background, in which regions the account may be
# used; no setting gives that another address.
GOOGLE_AUTH = frozenset({"iamcredentials.googleapis.com"})


class Tripwire:
    """Listens on loopback inside `with`; `hosts` holds the host of every CONNECT, answered 403."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.hosts))
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that send a program's requests here."""
        return {"HTTPS_PROXY": f"http://127.0.0.1:{self._listener.server_address[1]}"}


def _handler(hosts: set[str]) -> type[BaseHTTPRequestHandler]:
    class Refusal(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            hosts.add(self.path.rpartition(":")[0])
            # 403 is no temporary error to Google's clients: nothing waits or tries again.
            self.send_error(403)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    return Refusal
