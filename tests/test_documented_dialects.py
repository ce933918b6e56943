"""The examples of docs/dialects.md, run as they stand: with curl, and with the published client of each dialect."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lifecycle.pinning import write_pin
from tests import environments
from tests.clients import REQUIREMENTS
from tests.server import ROOT, Server

TEXT = (ROOT / "docs" / "dialects.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|python) ?(\w*)\n(.*?)^```\n\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A command or a program, the package whose client it shows, and what it prints."""

    section: str
    language: str
    client: str
    source: str
    printed: str


def examples() -> Iterator[Example]:
    """Yield every example with the heading that it stands under."""
    for section in TEXT.split("\n## ")[1:]:
        for match in BLOCK.finditer(section):
            yield Example(section.partition("\n")[0], *match.groups())


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def reviews(trained: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a real process that serves the model of the examples, as `make serve` does, with Vertex AI's path."""
    folder = tmp_path_factory.mktemp("documented")
    store, version = trained("reviews")
    pin = write_pin(version, folder)
    environment = {"MODEL_STORE": store.url, "PIN_FILE": str(pin), "AIP_PREDICT_ROUTE": "/vertex"}
    with Server(environment, folder) as running:
        yield running


def shortened(text: str) -> str:
    """Return what was printed with numbers and ids as the page shows them."""
    text = re.sub(r"\b[0-9a-f]{32}-", "...-", text)
    return re.sub(r"\d\.\d{5,}", lambda match: f"{float(match[0]):.4f}", text).strip()


def command(example: Example, source: Path) -> list[str]:
    """Return what runs an example; skips where its client is not here."""
    if example.language == "sh":
        return ["bash", "-euo", "pipefail", str(source)]
    if example.client not in REQUIREMENTS:
        assert importlib.util.find_spec(example.client), example.client
        return [sys.executable, str(source)]
    if not environments.is_made(REQUIREMENTS[example.client]):
        pytest.skip(f"needs the client {example.client}: make clients")
    return [str(environments.scripts(REQUIREMENTS[example.client]) / "python"), "-W", "ignore", str(source)]


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=[f"{one.section}-{one.client or 'curl'}-{index}" for index, one in enumerate(EXAMPLES)]
)
def test_an_example_prints_what_the_page_says(example: Example, reviews: Server, tmp_path: Path) -> None:
    """Run against a real process, an example ends well and prints what stands below it."""
    source = tmp_path / "example"
    # The page's port is 8080, the test's is whichever is free.
    source.write_text(example.source.replace("8080", str(reviews.port)), encoding="utf-8")
    done = subprocess.run(command(example, source), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert shortened(done.stdout) == example.printed.strip()


def test_every_block_of_the_page_is_an_example() -> None:
    """No command or program of the page stands without what it prints."""
    assert len(EXAMPLES) == len(re.findall(r"^```(?:sh|python)", TEXT, re.MULTILINE))


def test_every_client_has_an_example() -> None:
    """Each client that `make clients` installs is used by the page, and no other needs an environment."""
    assert set(REQUIREMENTS) <= {example.client for example in EXAMPLES}
