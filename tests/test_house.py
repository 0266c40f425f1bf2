"""The house itself: rooms, layers, sizes, names and import cost stay as agreed.

None of the limits has an exemption list; a module that does not fit is taken apart.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SOURCE = CHECKOUT / "src"
HOUSE = SOURCE / "ionbeam"
MODULES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(
    path
    for path in HOUSE.iterdir()
    if path.name not in {"__init__.py", "__pycache__"} and (path.is_dir() or path.suffix == ".py")
)

LONGEST_MODULE = 500
LONGEST_FUNCTION = 60
IMPORT_MS = 150
FORBIDDEN = re.compile(r"Manager|Helper|Util|^Base|Abstract|Impl(?![a-z])|Info$|Common")
PUBLISHED = {"BaseVariable"}
FORBIDDEN_FILES = {"common", "core", "util", "utils", "helper", "helpers", "misc", "base", "manager"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def named(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def nodes(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of a kind in the sources."""
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, kind):
                yield path, node


def test_every_module_opens_with_what_it_is_for() -> None:
    silent = [named(path) for path in MODULES if not ast.get_docstring(tree(path))]
    assert silent == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.stem)
def test_every_room_stands_on_the_map(room: Path) -> None:
    architecture = CHECKOUT / "ARCHITECTURE.md"
    assert architecture.exists(), "ARCHITECTURE.md is missing"
    text = architecture.read_text(encoding="utf-8")
    name = f"{room.name}/" if room.is_dir() else room.name
    assert name in text, f"ARCHITECTURE.md does not name {name}"


def test_every_room_has_its_place_in_the_layers() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    placed = {room.strip() for line in layers["layers"] for room in re.split(r"[|:]", line)}
    assert layers["exhaustive"] is True
    assert {room.stem for room in ROOMS} <= placed


def test_no_import_crosses_a_layer() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip(f"import-linter is not installed beside {sys.executable}")
    check = subprocess.run(
        [command, "--no-cache", "--no-logo"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_no_module_is_longer_than_a_reader_bears() -> None:
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: n for name, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_no_function_is_longer_than_a_page() -> None:
    long = {
        f"{named(path)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path, node in nodes((ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: n for name, n in long.items() if n > LONGEST_FUNCTION} == {}


def test_no_class_has_a_name_that_says_nothing() -> None:
    empty = {f"{named(path)}:{node.lineno} {node.name}" for path, node in nodes(ast.ClassDef)}
    assert {c for c in empty if FORBIDDEN.search(name := c.split()[-1]) and name not in PUBLISHED} == set()


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [named(path) for path in MODULES if path.stem.strip("_") in FORBIDDEN_FILES] == []


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    """Whether it catches all exceptions and does not end by raising them again."""
    broad = handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}
    last = handler.body[-1]
    return broad and not (isinstance(last, ast.Raise) and last.exc is None)


def test_only_boundaries_of_work_and_the_entry_point_swallow_every_error() -> None:
    found = {named(path) for path, handler in nodes(ast.ExceptHandler) if swallows_everything(handler)}
    boundaries = {"src/ionbeam/brokers/middleware.py", "src/ionbeam/aggregation/builder.py"}
    assert found <= boundaries | {"src/ionbeam/__main__.py"}


IMPORT = (
    "import sys, time; t = time.perf_counter(); import ionbeam; print(time.perf_counter() - t, *sys.modules)"
)


def test_importing_the_package_is_quick_and_light() -> None:
    seconds = []
    for _ in range(3):
        run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
        took, *modules = run.stdout.split()
        seconds.append(float(took))
        assert {"pyarrow", "pydantic", "numpy", "pandas", "httpx", "cf_units"}.isdisjoint(modules)
    assert min(seconds) * 1000 < IMPORT_MS


def test_every_source_has_a_file_a_registry_line_a_test_and_a_page() -> None:
    from ionbeam.sources import SOURCES

    files = {path.stem for path in (HOUSE / "sources").iterdir() if not path.stem.startswith("_")}
    tests = {path.stem.removeprefix("test_") for path in (CHECKOUT / "tests/sources").glob("test_*.py")}
    pages = {path.stem for path in (CHECKOUT / "docs/reference/sources").glob("*.md") if path.stem != "index"}
    assert files, "there are no sources"
    assert set(SOURCES) == files
    assert {place.split(":")[0] for place in SOURCES.values()} == {
        f"ionbeam.sources.{name}" for name in files
    }
    assert files <= tests
    assert pages == files
