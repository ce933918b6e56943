"""Other people's published clients, each in an environment of its own: the examples of docs/dialects.md run in them."""

from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = {path.parent.name: path for path in sorted(HERE.glob("*/requirements.txt"))}
