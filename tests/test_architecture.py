"""The house: imports point down, heavy libraries stay in their rooms, every name is exported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from bayesmix import workflow

PACKAGE = Path(workflow.__file__).resolve().parent

# DESIGN.md, section 3: every module and folder of the package, floor by floor.
FLOORS = [
    {"calls", "errors", "files", "interrupts", "optimizers", "priors", "progress", "protocols"}
    | {"rng", "specs"},
    {"datasets", "design", "tree"},
    {"chains", "compiled", "marginal", "maxima", "mixtures", "networks", "variational"},
    {"models", "inference"},
    {"calibrate", "comparison", "diagnostics", "effects", "plots", "prediction", "regressor"}
    | {"result", "scoring", "workflow"},
    {"book", "cli"},
]
WIDEST = 16
"""Modules in a folder, at most."""

# Who may import what, at the top of a module or inside a function. A library that is not named
# here is free to all.
ROOMS = {
    "pymc": {"priors", "calibrate", "compiled", "models", "inference"},
    "pytensor": {"compiled", "mixtures", "models", "inference"},
    "nutpie": {"inference"},
    "numba": {"compiled", "models", "inference", "cli"},
    "torch": {"rng", "mixtures", "networks", "models", "inference", "cli"},
    "zuko": {"networks", "models", "inference"},
    "arviz": {"diagnostics", "comparison", "plots"},
    "matplotlib": {"plots"},
    "sklearn": {"chains", "datasets", "scoring", "regressor"},
}
ALIASES = {"arviz_base": "arviz", "arviz_stats": "arviz", "arviz_plots": "arviz"}

# What may not be imported at the top of a module, so that importing a room costs little, and the
# modules that are all about one of them: those are imported inside functions instead.
HEAVY = {*ROOMS, *ALIASES, "scipy.stats", "formulae"}
ALL_ABOUT = {
    "bayesmix.regressor": "sklearn",
    "bayesmix.networks.likelihood": "torch",
    "bayesmix.networks.stochastic": "torch",
    "bayesmix.models.binomial_glm.in_torch": "torch",
    "bayesmix.models.binomial_glm.links_in_torch": "torch",
    "bayesmix.models.experts.in_torch": "torch",
    "bayesmix.models.mdn.in_torch": "torch",
    "bayesmix.compiled.vector": "numba",
    "bayesmix.compiled.generators": "numba",
    "bayesmix.compiled.products": "pytensor",
    "bayesmix.models.experts.in_numba": "numba",
    "bayesmix.models.experts.draws": "numba",
    "bayesmix.models.binomial_glm.kernel": "numba",
    "bayesmix.models.binomial_glm.in_numba": "numba",
    "bayesmix.models.binomial_glm.groups_in_numba": "numba",
    "bayesmix.models.binomial_glm.pilot": "numba",
    "bayesmix.models.binomial_glm.links_in_numba": "numba",
    "bayesmix.models.binomial_glm.rows_in_numba": "numba",
    "bayesmix.models.mdn.in_numba": "numba",
    "bayesmix.plots.": "matplotlib",
}


@dataclass(frozen=True)
class Import:
    """One import statement: who imports what, where, and whether at the top of the module."""

    importer: str
    target: str
    line: int
    at_top: bool

    @property
    def library(self) -> str:
        """The top-level package that is imported, ArviZ's parts being one library."""
        first = self.target.split(".")[0]
        return ALIASES.get(first, first)

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.target}"


def module_name(path: Path) -> str:
    """The dotted name of a file below the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_for_types(node: ast.If) -> bool:
    """Whether this is ``if TYPE_CHECKING:``, whose imports never run."""
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def called_module(node: ast.AST) -> str:
    """The module of a call ``import_module("...")``; empty for everything else."""
    match node:
        case ast.Call(func=called, args=[ast.Constant(value=str(module))]):
            return module if ast.unparse(called).endswith("import_module") else ""
        case _:
            return ""


def statements(
    node: ast.AST, at_top: bool, *, types: bool = False
) -> Iterator[tuple[ast.stmt, bool]]:
    """Every import in a node that runs, as a statement, and whether it runs on import.

    With ``types`` those under ``TYPE_CHECKING`` too, which never run.
    """
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, at_top
        return
    if module := called_module(node):
        yield ast.Import([ast.alias(module)], lineno=getattr(node, "lineno", 0)), at_top
    for_types = not types and isinstance(node, ast.If) and is_for_types(node)
    at_top = at_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in node.orelse if for_types else ast.iter_child_nodes(node):
        yield from statements(child, at_top, types=types)


def targets(name: str, path: Path, node: ast.stmt) -> list[str]:
    """The modules that a statement imports; a name that is no module counts as its package."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert isinstance(node, ast.ImportFrom)
    base = node.module or ""
    if node.level:
        package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
        above = package[: len(package) - node.level + 1]
        base = ".".join([*above, *filter(None, [node.module])])
    inner = [f"{base}.{alias.name}" for alias in node.names]
    is_own = base.split(".")[0] == "bayesmix"
    return [full if full in SOURCES or not is_own else base for full in inner]


def imports_of(name: str, path: Path, source: str, *, types: bool = False) -> list[Import]:
    """Every import that a module runs, wherever in the module it stands; or those for types too."""
    return [
        Import(name, target, node.lineno, at_top)
        for node, at_top in statements(ast.parse(source), at_top=True, types=types)
        for target in targets(name, path, node)
    ]


IMPORTS = [
    each
    for name, path in SOURCES.items()
    for each in imports_of(name, path, path.read_text(encoding="utf-8"))
]
OWN = [each for each in IMPORTS if each.library == "bayesmix"]
FOR_TYPES = [
    each
    for name, path in SOURCES.items()
    for each in imports_of(name, path, path.read_text(encoding="utf-8"), types=True)
    if each.library == "bayesmix"
]
"""The package's own imports, and those that only type checkers see."""


def room(module: str) -> str:
    """The module or folder right below ``bayesmix``; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def floor(module: str) -> int:
    """The floor on which a module stands."""
    if module == "bayesmix":
        return len(FLOORS)  # the public names: of all floors
    return next(i for i, rooms in enumerate(FLOORS) if room(module) in rooms)


def listing(found: list[Import]) -> str:
    """Offending imports, one a line."""
    return "\n".join(map(str, found))


def test_the_house_was_found() -> None:
    """The files and imports that the tests below go through are really there."""
    assert {"bayesmix", "bayesmix.errors", "bayesmix.models", "bayesmix.workflow"} <= set(SOURCES)
    rooms = {room(name) for name in SOURCES}
    assert set().union(*FLOORS) | {""} == rooms
    assert len(OWN) > len(SOURCES) / 2
    assert any(not each.at_top for each in OWN)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn as nn", [("torch.nn", True)]),
        ("from torch import nn", [("torch.nn", True)]),
        ("from . import specs", [("bayesmix.specs", True)]),
        ("from .errors import listed, DataError", [("bayesmix.errors", True)] * 2),
        ("from bayesmix import fit, rng", [("bayesmix", True), ("bayesmix.rng", True)]),
        ("def f():\n    import pymc", [("pymc", False)]),
        ("class A:\n    import pymc\n    def f(self):\n        import torch", None),
        ("if TYPE_CHECKING:\n    import torch\nelse:\n    import arviz", [("arviz", True)]),
        ("try:\n    import torch\nexcept ImportError:\n    pass", [("torch", True)]),
        ("with a:\n    if b:\n        import torch", [("torch", True)]),
        ("a = importlib.import_module('torch')", [("torch", True)]),
        ("def f():\n    a: Any = import_module('torch')", [("torch", False)]),
    ],
)
def test_imports_are_read_right(source: str, expected: list[tuple[str, bool]] | None) -> None:
    """The reader of sources sees every kind of import, and which ones run on import."""
    expected = expected or [("pymc", True), ("torch", False)]
    found = imports_of("bayesmix.example", PACKAGE / "example.py", source)
    assert [(each.target, each.at_top) for each in found] == expected


def test_relative_imports_are_read_right() -> None:
    """Relative imports resolve against the folder of the module, one folder up for each dot."""
    inner = imports_of("bayesmix.compiled.x", PACKAGE / "compiled" / "x.py", "from . import native")
    outer = imports_of(
        "bayesmix.compiled.x", PACKAGE / "compiled" / "x.py", "from ..rng import stream"
    )
    start = imports_of(
        "bayesmix.compiled", PACKAGE / "compiled" / "__init__.py", "from .. import rng"
    )
    found = [each.target for each in (*inner, *outer, *start)]
    assert found == ["bayesmix.compiled.native", "bayesmix.rng", "bayesmix.rng"]


def test_no_import_points_up() -> None:
    """A module imports from its own floor and from below, not even late or for types from above."""
    upward = [
        each for each in FOR_TYPES
        if each.target != "bayesmix" and floor(each.target) > floor(each.importer)
    ]  # fmt: skip
    assert not upward, f"these imports point up:\n{listing(upward)}"


def test_models_and_inference_do_not_know_each_other() -> None:
    """The two rooms of floor 3 meet in the workflow alone."""
    pair = {"models", "inference"}
    across = [e for e in OWN if {room(e.importer), room(e.target)} == pair]
    assert not across, f"models and inference must not import each other:\n{listing(across)}"


def test_families_do_not_know_each_other() -> None:
    """A family's folder imports from no other: what two share stands on a floor below."""
    families = [e for e in FOR_TYPES if room(e.importer) == room(e.target) == "models"]
    across = [e for e in families if e.importer.split(".")[2:3] != e.target.split(".")[2:3]]
    assert not across, f"families must not import each other:\n{listing(across)}"


def test_no_folder_is_wide() -> None:
    """A folder that holds more than a reader can keep in mind asks for a noun of its own."""
    inside: dict[Path, int] = {}
    for path in SOURCES.values():
        if path.name != "__init__.py":
            inside[path.parent] = inside.get(path.parent, 0) + 1
    wide = {str(folder.relative_to(PACKAGE)): n for folder, n in inside.items() if n > WIDEST}
    assert len(inside) > 10 and not wide, f"more than {WIDEST} modules: {wide}"


def test_public_classes_have_names_of_their_own() -> None:
    """One name means one thing: no two public classes of the package share one."""
    found: dict[str, list[str]] = {}
    for name, path in SOURCES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name)
    twice = {kind: where for kind, where in found.items() if len(where) > 1}
    assert len(found) > 50 and not twice, f"classes of one name: {twice}"


def test_no_import_goes_in_a_circle() -> None:
    """No module imports itself through others, not even inside functions or for types alone."""
    graph: dict[str, set[str]] = {name: set() for name in SOURCES}
    for each in FOR_TYPES:
        graph[each.importer].add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports go in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("library", ROOMS)
def test_a_library_stays_in_its_rooms(library: str) -> None:
    """Only the rooms listed import this library, at the top of a module or inside a function."""
    using = [each for each in IMPORTS if each.library == library]
    astray = [each for each in using if room(each.importer) not in ROOMS[library]]
    assert not astray, f"{library} belongs in {sorted(ROOMS[library])}:\n{listing(astray)}"


def all_about(module: str) -> str:
    """The library that a module is all about, so that it may stand at its top; mostly none."""
    return next((ALL_ABOUT[start] for start in ALL_ABOUT if module.startswith(start)), "")


def test_heavy_libraries_are_imported_when_needed() -> None:
    """Nothing heavy stands at the top of a module, unless the module is all about it."""
    early = [
        each
        for each in IMPORTS
        if each.at_top
        and any(f"{each.target}.".startswith(f"{heavy}.") for heavy in HEAVY)
        and each.library != all_about(each.importer)
    ]
    assert not early, f"import these inside the functions that need them:\n{listing(early)}"


def test_modules_about_a_heavy_library_are_imported_when_needed() -> None:
    """Such modules stand at the top of no other, but of those about the same library."""
    early = [
        each
        for each in OWN
        if each.at_top and all_about(each.target) not in ("", all_about(each.importer))
    ]
    assert not early, f"import these inside the functions that need them:\n{listing(early)}"


@pytest.mark.parametrize("module", ["bayesmix", "bayesmix.plots"])
def test_importing_bayesmix_loads_nothing_heavy(module: str) -> None:
    """Importing the package, or its plots, in a new process loads no library that takes time."""
    heavy = "pymc pytensor torch matplotlib arviz numba nutpie pandas xarray scipy sklearn numpy"
    code = f"import sys, {module}; print(*sorted(set({heavy.split()}) & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []


def exported() -> dict[str, str]:
    """The names of ``__init__.pyi`` and the module each comes from."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: (node.module or "")
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def missing_exports(found: dict[str, type]) -> list[str]:
    """The line that ``__init__.pyi`` lacks, for each class that was discovered and not exported."""
    names = exported()
    return [
        f"from .{kind.__module__.removeprefix('bayesmix.')} import {name} as {name}"
        for name, kind in found.items()
        if f"bayesmix.{names.get(name)}" != kind.__module__
    ]


def test_every_model_and_method_is_exported() -> None:
    """Whatever discovery finds in ``models/`` and ``inference/`` has its line in __init__.pyi."""
    found = {**workflow.models(), **workflow.methods_by_class()}
    assert {"BinomialGLM", "NUTS", "MLE"} <= set(found)
    missing = missing_exports(found)
    assert not missing, "add to bayesmix/__init__.pyi:\n" + "\n".join(missing)


def test_a_missing_export_is_named() -> None:
    """A class that is not in __init__.pyi, or is exported from elsewhere, is told by its line."""
    stranger = type("Stranger", (), {"__module__": "bayesmix.models.strange"})
    moved = type("NUTS", (), {"__module__": "bayesmix.inference.other"})
    assert missing_exports({"Stranger": stranger, "NUTS": moved}) == [
        "from .models.strange import Stranger as Stranger",
        "from .inference.other import NUTS as NUTS",
    ]


@pytest.mark.parametrize("name", sorted(exported()))
def test_every_exported_name_is_there(name: str) -> None:
    """Each name in __init__.pyi can be had from the package."""
    import bayesmix

    assert getattr(bayesmix, name) is not None
