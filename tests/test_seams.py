"""Names that two places share, read from both sides: code and docs, settings and environment, modules and layers."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from pydantic import BaseModel

from function import __version__, contract
from function.call import Served, Totals
from function.description import document
from function.dialects import load_dialect
from function.engines import operations
from function.errors import PilotlightError
from function.routes import ROUTES
from function.settings import Settings
from lifecycle import errors as lifecycle_errors
from lifecycle.cli import cli
from lifecycle.metrics import METRICS
from lifecycle.recipe import InputPolicy, Recipe
from lifecycle.versions import Version

ROOT = Path(__file__).resolve().parent.parent
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def served(version: Version) -> Served:
    """Return what dialects know of an endpoint that serves a version."""
    return Served(version.manifest, 10, Totals(), lambda _: b"")


def classes(root: type[BaseException]) -> Iterator[type[BaseException]]:
    """Yield an error class and all below it."""
    yield root
    for child in root.__subclasses__():
        yield from classes(child)


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize(
    ("folder", "never"),
    [
        ("function", ("lifecycle", "models", "tests")),
        ("lifecycle", ("models", "tests")),
        ("models", ("function", "tests")),
    ],
)
def test_imports_point_one_way(folder: str, never: tuple[str, ...]) -> None:
    """Models -> lifecycle -> function, and never back."""
    for path in (ROOT / folder).rglob("*.py"):
        assert not [name for name in imports(path) if name.partition(".")[0] in never], path


DIALECTS = ({dialect for route in ROUTES for dialect in (route.dialect, *route.takes.dialects)} | {"vertex"}) - {
    "native"
}

# In function/, a module imports only from the layers above its own.
LAYERS = [
    {"function", "function.errors", "function.contract"},
    {"function.store", "function.validation"},
    {"function.engines", "function.engines.operations", "function.settings"},
    {"function.engines.operations.sparse"},
    {f"function.engines.operations.{module}" for module in operations.MODULES.values()},
    {"function.engines.sklearn_engine", "function.engines.numpy_engine"},
    {"function.call", "function.routes", "function.coding", "function.intake", "function.schemas", "function.model"},
    {"function.dialects", *(f"function.dialects.{shared}" for shared in ("json_body", "table", "parquet_heads"))},
    {"function.feedback", "function.dialects.native", "function.dialects.layouts", "function.dialects.columnar"},
    {f"function.dialects.{name}" for name in (*DIALECTS, "v2.inputs", "v2.metadata", "v2.outputs", "v2.tensors")},
    {"function.record", "function.docs"},
    {"function.description", "function.prediction"},
    {"function.endpoint"},
    {"function.main"},
]


def test_the_function_is_layered() -> None:
    """Contract <- {store, engines} <- model <- {dialects, record} <- main: no module imports one that builds on it."""
    rank = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    for path in (ROOT / "function").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for imported in imports(path):
            if imported.startswith("function."):
                assert rank[imported] <= rank[name], f"{name} imports {imported}"


def test_operations_are_those_of_the_engine_and_of_the_compiler() -> None:
    """Every operation that the engine knows is a function of its module, and the compiler writes no other."""
    for name, module in operations.MODULES.items():
        assert callable(getattr(importlib.import_module(f"function.engines.operations.{module}"), name)), name
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "lifecycle" / "compiler").glob("*.py")]
    written = {name for source in sources for name in re.findall(r"\.add\(\s*\"(\w+)\"", source)}
    assert written <= set(operations.MODULES)
    named = {name for source in sources for name in re.findall(r"\"(\w+)\"", source)}
    assert set(operations.MODULES) <= named


def test_only_main_reads_the_environment() -> None:
    """Settings come from one place: no other module of the function reads variables."""
    readers = [path.name for path in (ROOT / "function").rglob("*.py") if "environ" in path.read_text(encoding="utf-8")]
    # store and model only set defaults that libraries read when they are imported
    assert sorted(readers) == ["main.py", "model.py", "settings.py", "store.py"]
    for name in ("model.py", "store.py"):
        text = (ROOT / "function" / name).read_text(encoding="utf-8")
        assert text.count("environ") == text.count("os.environ.setdefault(")


def test_no_module_is_loaded_under_two_names() -> None:
    """Loaded as the framework loads it, each file of the function is one module."""
    script = (
        "import sys, json, functions_framework.aio as f\n"
        f"f.create_asgi_app('predict', {str(ROOT / 'function' / 'main.py')!r}, 'http')\n"
        "files = [(n, m.__file__) for n, m in sys.modules.items() if (getattr(m, '__file__', None) or '').startswith("
        f"{str(ROOT / 'function')!r})]\n"
        "print(json.dumps(files))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/")
    files = [file for _, file in json.loads(done.stdout)]
    assert len(files) > 10
    assert sorted(files) == sorted(set(files))


def test_starting_imports_nothing_heavy() -> None:
    """Before a model is loaded, the serving process has imported no NumPy, pandas, scikit-learn or Google library."""
    script = (
        "import sys, functions_framework.aio as f\n"
        f"f.create_asgi_app('predict', {str(ROOT / 'function' / 'main.py')!r}, 'http')\n"
        "print({n.partition('.')[0] for n in sys.modules} & {'numpy', 'pandas', 'sklearn', 'scipy', 'joblib', 'grpc'},"
        " 'google.cloud.storage' in sys.modules or 'google.auth' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "set() False"


def test_a_dialect_is_imported_when_it_is_first_spoken() -> None:
    """The start imports no dialect at all, so that none costs it anything."""
    script = (
        "import sys, functions_framework.aio as f\n"
        f"f.create_asgi_app('predict', {str(ROOT / 'function' / 'main.py')!r}, 'http')\n"
        "print(sorted(n for n in sys.modules if n.startswith(('function.dialects.', 'function.feedback',"
        " 'function.docs', 'function.schemas', 'function.description'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "['function.dialects.json_body']"


def test_every_setting_is_documented() -> None:
    """Each settings field stands in the docs as a variable, with its default, and no other does."""
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \| ([^|]*) \|", DOCS["operating.md"], re.MULTILINE)
    documented = {name: default.strip() for names, default in rows for name in re.findall(r"`([A-Z_]+)`", names)}
    assert set(documented) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, int | float):
            assert documented[name.upper()] == f"{field.default:g}" or documented[name.upper()] == str(field.default)


def test_every_error_code_is_documented_with_its_status() -> None:
    """The table of errors holds exactly the codes that callers can see."""
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", DOCS["requests.md"], re.MULTILINE))
    leaves = [error for error in classes(PilotlightError) if "code" in vars(error) and not error.__subclasses__()]
    assert rows == {error.code: str(error.status) for error in [*leaves, PilotlightError]}  # type: ignore[attr-defined]


def test_every_record_field_is_documented() -> None:
    """Each field of a record stands in the docs, and each field of the docs in a record."""
    text = DOCS["operating.md"].partition("## Records")[2].partition("\n## ")[0]
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
    shapes = (
        contract.RequestRecord,
        contract.FeedbackRecord,
        contract.LoadRecord,
        contract.RecordExtras,
        contract.Trace,
    )
    fields = {name for shape in shapes for name in get_type_hints(shape)}
    assert {name.rpartition("/")[2] for name in documented} == {name.rpartition("/")[2] for name in fields}


def test_every_exit_code_is_documented() -> None:
    """The exit codes of the docs are those of the errors, and click's own."""
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS["models.md"], re.MULTILINE)}
    assert documented == {0, 2} | {error.exit_code for error in classes(lifecycle_errors.LifecycleError)}  # type: ignore[attr-defined]


def test_every_verb_is_documented() -> None:
    """Each verb of the command line stands in the docs, and no other."""
    text = DOCS["models.md"].partition("## Verbs")[2]
    assert set(re.findall(r"^\| `([a-z]+) [A-Z]+", text, re.MULTILINE)) == set(cli.commands)


def test_every_key_of_model_yaml_is_documented() -> None:
    """Each key that model.yaml may hold stands in the docs."""
    text = DOCS["models.md"]
    for key in _keys(Recipe):
        assert re.search(rf"`[a-z.]*\b{key}\b", text), key
    for key in InputPolicy.model_fields:
        assert f"`{key}" in text, key
    for name in {name for metrics in METRICS.values() for name in metrics}:
        assert f"`{name}`" in text, name


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for part in [field.annotation, *get_args(field.annotation)]:
            if isinstance(part, type) and issubclass(part, BaseModel) and part is not InputPolicy:
                yield from _keys(part)


def test_every_path_is_documented_and_described(published: Callable[[str], Version]) -> None:
    """The routes, the docs and the OpenAPI name the same paths and methods."""
    routed = {f"{route.method} {route.path}" for route in ROUTES}
    described = document(ROUTES, served(published("binary")))["paths"]
    assert {
        f"{method.upper()} {path}" for path, item in described.items() for method in item if method != "parameters"
    } == routed
    documented = set(re.findall(r"`((?:GET|POST) /[^`]*)`", DOCS["requests.md"]))
    assert documented == {path for path in routed if "/versions/{version}" not in path}


def test_what_routes_name_exists() -> None:
    """Each route's reader is a function of its module, and each dialect that a body may speak is a whole one."""
    for route in ROUTES:
        module, _, name = route.reads.partition(":")
        if route.kind == "read":
            assert callable(getattr(importlib.import_module(f"function.{module}"), name)), route
        spoken = route.takes.dialects if route.kind == "predict" else []
        for dialect in (route.dialect, *spoken):
            for name in ("parse", "render", "refuse", "describe"):
                if (dialect, name) not in {("ndjson", "parse")}:  # answered line by line, by `chunks`
                    assert callable(getattr(load_dialect(dialect), name)), (dialect, name)


def test_the_version_of_the_function_is_the_projects() -> None:
    """What servers tell of their version is that of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert __version__ == project["version"]


def test_every_make_target_is_documented() -> None:
    """Each target with a help text stands in the README."""
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets
    for target in sorted(set(targets) - {"help"}):  # bare make shows it
        assert f"make {target}" in README, target


def test_the_tree_in_the_readme_is_the_tree() -> None:
    """Every file and folder that the README's tree names exists, and every top-level one is in it."""
    tree = README.partition("```\nfunction/")[2].partition("```")[0]
    lines = ["function/" + tree.splitlines()[0], *tree.splitlines()[1:]]
    folder = ""
    named = set()
    for line in lines:
        indented, name = line.startswith("  "), line.split()[0]
        if not indented:
            folder = name if name.endswith("/") else ""
            named |= {word.rstrip("/") for word in line.split() if (ROOT / word).exists()}
        path = ROOT / (folder if indented else "") / name
        assert path.exists(), path
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {name.partition("/")[0] for name in listed}
    assert top - named - {".gitignore", ".gcloudignore"} == set()


def test_links_in_the_docs_lead_somewhere() -> None:
    """Every relative link of a Markdown file points to a file that exists."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path}: {target}"


def test_artifact_names_have_one_home() -> None:
    """The names of a version's files are written once, in the contract."""
    names = [contract.MANIFEST, contract.FITTED, contract.REFERENCE, contract.GOLDEN, contract.CARD, contract.ALIASES]
    for folder in ("function", "lifecycle"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "contract.py":
                literals = [
                    node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
                ]
                assert not set(names) & {value for value in literals if isinstance(value, str)}, path


def test_the_description_names_every_form(published: Callable[[str], Version]) -> None:
    """The OpenAPI of a real version describes all three forms of a request."""
    described = document(ROUTES, served(published("binary")))
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert len(body["schema"]["anyOf"]) >= 3
