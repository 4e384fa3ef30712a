"""
The house: imports run down, never in a circle, and what is named by a string is there.

Read from the syntax trees, so that imports inside functions and those for type checkers count as any other.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
FLOORS = (
    ("core",),
    ("testing", "extending"),
    ("backbones",),
    ("evaluation",),
    ("text", "sparse", "quantize", "classify", "search", "tokens", "beams", "vision", "editing"),
    ("coding",),
    ("serve",),
    ("cli",),
    ("__init__",),
    ("benchmarks",),
    ("recipes",),
)
"""Rooms, the lowest first: a room imports those below it, and none beside it."""

# What is still to be mended; these lists only ever grow shorter.
ARROWS: set[tuple[str, str]] = set()
LONG: set[str] = set()
FULL: set[str] = set()


@cache
def modules() -> dict[str, Path]:
    """Name of a module -> its file; a package's is its ``__init__``."""
    found = {}
    for home, top in ((SRC, "anysize"), (ROOT, "benchmarks"), (ROOT, "recipes")):
        for file in (home / top).rglob("*.py"):
            found[".".join(file.relative_to(home).with_suffix("").parts)] = file
    return found


@cache
def arrows() -> dict[str, frozenset[str]]:
    """Module -> the modules of this repository that it imports anywhere, but for those still to be mended."""
    return {
        name: frozenset(other for other in imports(file) if other != name and (name, other) not in ARROWS)
        for name, file in modules().items()
    }


@cache
def nodes(file: Path) -> list[ast.AST]:
    """What stands in a file, and in the typed table beside it that a package's public names come from."""
    files = (file, file.with_suffix(".pyi"))
    return [node for one in files if one.exists() for node in ast.walk(ast.parse(one.read_text("utf-8")))]


def imports(file: Path) -> Iterator[str]:
    for node in nodes(file):
        if isinstance(node, ast.Import):
            said = [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relative to itself"
            said = [(f"{node.module}.{alias.name}", str(node.module)) for alias in node.names]
        else:
            continue
        for name, home in said:
            if name.partition(".")[0] in ("anysize", "benchmarks", "recipes"):
                found = module_of(name) or module_of(home)
                assert found, f"{file} imports {name}, which is not there"
                yield found


def module_of(name: str) -> str | None:
    return next((one for one in (name, f"{name}.__init__") if one in modules()), None)


def folder(module: str) -> str:
    """The folder of a module; an ``__init__``, which only names what is below it, stands alone."""
    return module if module.endswith(".__init__") else module.rpartition(".")[0]


def room(module: str) -> str:
    first, second, *_ = module.split(".")
    return second if first == "anysize" else first


@pytest.mark.parametrize("of", [str, folder, room], ids=["files", "folders", "rooms"])
def test_nothing_imports_in_a_circle(of: Callable[[str], str]):
    graph: dict[str, set[str]] = defaultdict(set)
    for name, others in arrows().items():
        graph[of(name)] |= {of(other) for other in others} - {of(name)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_imports_run_down_only():
    floor = {name: height for height, names in enumerate(FLOORS) for name in names}
    wrong = [
        f"{name} -> {other}"
        for name, others in arrows().items()
        for other in others
        if room(name) in floor and room(other) != room(name) and floor.get(room(other), 99) >= floor[room(name)]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_has_a_floor():
    rooms = {path.parent.name for path in (SRC / "anysize").glob("*/__init__.py")}
    assert rooms | {"__init__", "testing", "extending", "benchmarks", "recipes"} == {
        name for names in FLOORS for name in names
    }


def test_what_is_still_to_be_mended_is_still_there():
    for name, other in ARROWS:
        assert other in imports(modules()[name]), f"{name} no longer imports {other}; take it off the list"


def test_files_and_folders_are_small():
    source = [file for file in modules().values() if file.is_relative_to(SRC)]
    long = {
        f"{file.relative_to(ROOT)}: {lines} lines"
        for file in source
        if (lines := len(file.read_text("utf-8").splitlines())) > 300 and str(file.relative_to(ROOT)) not in LONG
    }
    assert not long
    count: dict[str, int] = defaultdict(int)
    for file in source:
        count[str(file.parent.relative_to(ROOT))] += file.name != "__init__.py"
    for file in (ROOT / "tests").rglob("*.py"):
        count[str(file.parent.relative_to(ROOT))] += file.name != "__init__.py"
    full = {f"{name}: {many} files" for name, many in count.items() if many > 15 and name not in FULL}
    assert not full


def test_the_tests_stand_in_the_same_tree():
    for file in (ROOT / "tests").rglob("*.py"):
        home = file.parent.relative_to(ROOT / "tests")
        tops = ROOT if home.parts[:1] in (("benchmarks",), ("recipes",)) else SRC / "anysize"
        assert (tops / home).is_dir() or home.parts == ("wrong_input",), f"{home} mirrors no folder of the package"


def test_every_command_that_is_quoted_can_be_started():
    texts = [*(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").rglob("*.*"), *(ROOT / "recipes").glob("*.py")]
    pattern = re.compile(r"python -m ((?:benchmarks|recipes)\.[\w.]*\w)(?![\w.])")
    said = [file.read_text("utf-8") for file in (*texts, ROOT / "README.md") if file.suffix in (".md", ".json", ".py")]
    quoted = {name for text in said for name in pattern.findall(text)}
    assert len(quoted) > 20
    assert not {name for name in quoted if name not in modules() and f"{name}.__main__" not in modules()}


def named() -> set[str]:
    """Every ``module:name`` in the source and among the entry points."""
    pattern = re.compile(r"anysize(?:\.\w+)+:\w+(?:\.\w+)*")
    found = set()
    for file in modules().values():
        for node in nodes(file):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.fullmatch(node.value):
                found.add(node.value)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for group in [project["scripts"], *project["entry-points"].values()]:
        found |= set(group.values())
    return found


def test_every_name_in_a_string_is_there():
    names = named()
    assert len(names) > 50
    for name in sorted(names):
        module, _, attribute = name.partition(":")
        home = module_of(module)
        assert home, f"{name} names a module that is not there"
        body = ast.parse(modules()[home].read_text("utf-8")).body
        for part in attribute.split("."):  # a name of the module, or in a class of it
            found = next((node for node in body if part in defined(node)), None)
            assert found, f"nothing is called {name}"
            body = getattr(found, "body", [])


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement gives to a module or a class."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}
