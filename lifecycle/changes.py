"""What a version was made of, by digests, and what has changed since: the model's folder, data, code, libraries."""

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from function.contract import Manifest, Sources
from lifecycle.errors import RecipeInvalid
from lifecycle.recipe import MODELS, ROOT

MAKERS = ("lifecycle.packaging", "lifecycle.recipe", "lifecycle.data")  # and all that they import, anywhere in it
WHOLE = ("lifecycle.compiler", "function.engines")  # packages that import their modules by name
# They say why something stopped, or carry bytes: no byte of a version depends on them.
ASIDE = ("lifecycle.errors", "lifecycle.versions", "function.errors", "function.store")
LOCK = ROOT / "requirements.txt"
# Parsing seventy files takes a second, which every training would pay.
IMPORTS = re.compile(
    r"^[ \t]*(?:from|import)[ ]((?:function|lifecycle)\b[\w.]*)(?:[ ]import[ ](\([^)]*\)|[^\n(]*))?", re.MULTILINE
)
FOR_TYPES = re.compile(r"^if TYPE_CHECKING:.*\n(?:[ \t]+.*\n|\n)*", re.MULTILINE)
PINNED = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+)", re.MULTILINE)
IN_WORDS = {
    "folder": "the model's folder changed",
    "code": "the code that makes versions changed",
    "libraries": "the locked libraries changed",
    "data": "the data changed",
}


def find_sources(name: str, models: Path = MODELS) -> Sources:
    """Return the digests of all that makes a version of a model, but its data."""
    folder = models / name
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_passing(path.relative_to(folder)))
    return Sources(folder=_digest(folder, files), code=code_digest(ROOT), libraries=_libraries(LOCK))


def find_changes(manifest: Manifest, sources: Sources, data_sha256: str) -> list[str]:
    """Return in words what has changed since a version was made; nothing where it would be made again as it is."""
    if manifest.sources is None:
        return [f"what version {manifest.version} was made of is not recorded"]
    before = manifest.sources.model_dump() | {"data": manifest.data.sha256}
    now = sources.model_dump() | {"data": data_sha256}
    return [text for key, text in IN_WORDS.items() if before[key] != now[key]]


def modules_that_make(root: Path) -> list[Path]:
    """Return the modules of lifecycle/ and function/ that take part in making a version."""
    found: dict[Path, None] = {}
    waiting = [path for name in MAKERS for path in _files(root, name)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = None
            waiting += [file for name in _imports(path) for file in _files(root, name)]
    return sorted(found)


@functools.cache
def code_digest(root: Path = ROOT) -> str:
    """Return the digest of the code that makes versions."""
    return _digest(root, modules_that_make(root))


def _libraries(lock: Path) -> str:
    try:
        pinned = PINNED.findall(lock.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeInvalid(f"{lock} cannot be read: {error.strerror}; make lock writes it.") from error
    return hashlib.sha256("\n".join(sorted(pinned)).encode()).hexdigest()


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 of files' names below a folder and of what they hold, whatever their dates and rights."""
    content = hashlib.sha256()
    for path in files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        content.update(f"{path.relative_to(folder).as_posix()}\0{digest}\0".encode())
    return content.hexdigest()


def _is_passing(path: Path) -> bool:
    """Tell whether a file comes and goes by itself: byte code, an editor's, the system's."""
    return any(part.startswith(".") or part == "__pycache__" or part.endswith(("~", ".pyc")) for part in path.parts)


def _files(root: Path, name: str) -> list[Path]:
    """Return the files of a module of ours, and of the packages around it; nothing for anybody else's."""
    if name.partition(".")[0] not in ("lifecycle", "function") or name in ASIDE:
        return []
    whole = next((package for package in WHOLE if name == package or name.startswith(f"{package}.")), None)
    if whole:
        return sorted((root / whole.replace(".", "/")).rglob("*.py"))
    path = root / name.replace(".", "/")
    candidates = [path.with_suffix(".py"), path / "__init__.py", *(above / "__init__.py" for above in path.parents)]
    return [file for file in candidates if file.is_relative_to(root) and file.is_file()]


def _imports(path: Path) -> Iterator[str]:
    """Yield the modules of ours that a file imports, but for types alone."""
    text = FOR_TYPES.sub("", path.read_text(encoding="utf-8"))
    for module, names in IMPORTS.findall(text):
        yield module
        yield from (f"{module}.{name}" for name in re.findall(r"\w+", names))
