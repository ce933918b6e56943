"""The page at /docs in a real browser: operations show, a request can be tried, and nothing breaks the policy."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from function.docs import OURS, POLICY, THEIRS
from tests.browser import CHROMIUM, HOST, Page


class Prefixed:
    """What a proxy does that serves an endpoint under a prefix: takes it away."""

    def __init__(self, app: Any, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on without the prefix."""
        if scope["type"] == "http":
            assert scope["path"].startswith(f"{self._prefix}/"), scope["path"]
            scope = {**scope, "path": scope["path"].removeprefix(self._prefix)}
        await self._app(scope, receive, send)


@pytest.fixture(params=[pytest.param("", marks=pytest.mark.long), "/churn"], ids=["root", "prefix"])
def root(request: pytest.FixtureRequest, serving: Callable[..., TestClient]) -> Iterator[str]:
    """Serve the binary toy under a prefix; return its root's URL."""
    app = Prefixed(serving("binary").app, request.param)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://{HOST}:{listening.getsockname()[1]}{request.param}"
        server.should_exit = True
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_the_page_shows_the_document_and_tries_a_request(root: str) -> None:
    """Every operation shows, the documented prediction answers; nothing goes elsewhere or against the policy."""
    with Page() as page:
        page.open(f"{root}/docs")
        page.wait("document.querySelectorAll('.opblock').length > 0")
        shown = page.evaluate(
            "[...document.querySelectorAll('.opblock')].map(e => "
            "e.querySelector('.opblock-summary-method').innerText + ' ' + "
            "e.querySelector('.opblock-summary-path').dataset.path)"
        )
        assert {"POST /predict", "POST /feedback", "POST /v2/models/{model}/infer", "GET /model"} <= set(shown)

        block = "document.querySelector('[data-path=\"/predict\"]').closest('.opblock')"
        page.evaluate(f"{block}.querySelector('.opblock-summary-control').click()")
        page.wait(f"{block}.querySelector('.execute') !== null")
        page.evaluate(f"{block}.querySelector('.execute').click()")
        page.wait(f"{block}.querySelector('.live-responses-table .response .response-col_status') !== null")
        answer = page.evaluate(f"{block}.querySelector('.live-responses-table .response').innerText")
        assert answer.startswith("200"), answer
        assert '"prediction_ids"' in answer

        page.evaluate("document.querySelectorAll('.json-schema-2020-12-expand-deep-button').forEach(e => e.click())")
        page.wait("document.body.innerText.includes('number | null')")
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 200)))")

        assert page.evaluate("window.violations") == []
        assert page.problems == []
        assert f"{root}/predict" in page.urls
        assert [url for url in page.urls if not url.startswith((f"{root}/", "data:image/"))] == []


def test_the_files_of_the_page_are_the_only_ones(client: TestClient) -> None:
    """The page's own files are served with the policy; whatever else is asked for is unknown."""
    assert client.get("/docs").headers["content-security-policy"] == POLICY
    for name, media_type in (OURS | THEIRS).items():
        response = client.get(f"/docs/{name}")
        assert response.status_code == 200
        assert response.headers["content-type"].partition(";")[0] == media_type
        again = client.get(f"/docs/{name}", headers={"if-none-match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for name in ("__init__.py", "..%2fmain.py", "%2e%2e/main.py", "nothing.js", ""):
        assert client.get(f"/docs/{name}").status_code == 404


def test_a_browser_at_the_root_is_led_to_the_page(client: TestClient) -> None:
    """Programs get the paths as JSON at the root, whatever they accept; a browser gets the page."""
    assert client.get("/", headers={"accept": "*/*"}).json()["status"] == "alive"
    asked = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert client.get("/", headers=asked, follow_redirects=False).headers["location"] == "docs"
    assert client.get("/", headers=asked).text.startswith("<!doctype html>")
