"""RE2's regular expressions, as far as Python's engine gives the same matches; what differs is refused."""

from __future__ import annotations

import re
from functools import lru_cache

from tests.cloud.errors import invalid, unimplemented

# One piece of a pattern: an escape, a whole character class, the start of a group, or any other character.
PIECE = re.compile(
    r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\(\?(?:P?<[^>=!]*>|P[=>]|[<!=>:]+|[^):]*)|.", re.DOTALL
)
LOOKAROUND = ("(?=", "(?!", "(?<=", "(?<!", "(?>", "(?P=", "(?P>")
ELSEWHERE = (r"\p", r"\P", r"\Q", r"\C", r"\z")


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> re.Pattern[str]:
    r"""Return a pattern of RE2 syntax; `\d`, `\w` and `\s` are ASCII, and `$` is the very end of the text.

    Raises CloudError: 400 where RE2 would refuse it, 501 where Python's engine cannot stand in.
    """
    translated = "".join(_translate(piece) for piece in PIECE.findall(text))
    try:
        return re.compile(translated, re.ASCII)
    except re.error as fault:
        raise invalid(f"Invalid regular expression: {text!r}: {fault.msg}") from None


def compile_extractor(text: str) -> re.Pattern[str]:
    """Return a pattern that has the one capture group that an extraction needs.

    Raises CloudError: 400 where it has none or several.
    """
    pattern = compile_pattern(text)
    if pattern.groups != 1:
        raise invalid(f"Regular expression {text!r} must have exactly one capture group, it has {pattern.groups}.")
    return pattern


def _translate(piece: str) -> str:
    if piece == "$":
        return r"\Z"  # Python's $ also matches before a last newline
    if piece.startswith(LOOKAROUND):
        raise invalid(f"Invalid regular expression: invalid perl operator: {piece}")
    if re.fullmatch(r"\\[1-9]", piece):
        raise invalid(f"Invalid regular expression: invalid escape sequence: {piece}")
    if piece.startswith(ELSEWHERE) or (piece.startswith("[") and "[:" in piece):
        raise unimplemented(f"{piece} in regular expressions")
    return piece
