"""The import order of the house, read from the sources without running them.

    parametrize   -> nothing of ours
    manifolds     -> parametrize, in the files from trivialization.py on alone
    nn            -> manifolds, parametrize
    optim         -> manifolds
    optim.compare -> the rest; other libraries of the field in peers.py alone
    benchmarks    -> all, as a user would: through the face
    api           -> all; nothing else imports api

and inside manifolds: triangular -> linalg -> maps -> geometry -> manifold -> one file a manifold
-> combinators -> trivialization -> record -> report, averaging, checkpoint, constrain.
"""

import ast
import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The folder of each package, from the map that installs them.
_config = configparser.ConfigParser()
_config.read(ROOT / "setup.cfg", encoding="utf-8")
FOLDERS = dict(
    line.replace(" ", "").split("=")
    for line in _config["options"]["package_dir"].strip().splitlines()
)
PACKAGES = _config["options"]["packages"].split()


def _module_name(path: Path) -> str:
    """The installed name of a source file: ``manifolds/maps/linear.py`` and so on."""
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    package = next(name for name, place in FOLDERS.items() if place == folder)
    return ".".join([package, *rest]).removesuffix(".__init__")


SOURCES = {
    _module_name(path): path
    for folder in FOLDERS.values()
    for path in sorted((ROOT / folder).rglob("*.py"))
}


def _tree(path: Path) -> ast.Module:
    """The source without `if TYPE_CHECKING:` blocks, which name types and import nothing."""

    class Drop(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            if ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                return node.orelse
            return self.generic_visit(node)

    return Drop().visit(ast.parse(path.read_text(encoding="utf-8")))


def _imports(module: str) -> set[str]:
    """The full name of everything that a module imports, wherever in the file it stands."""
    path = SOURCES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                source = ".".join([*above, source]).rstrip(".")
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                names.add(inner if inner in SOURCES else source)
    return names - {module}


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _ours(module: str) -> set[str]:
    return {name for name in _imports(module) if _within(name, "torchmanifold")}


# Package -> what of ours it may import, beside itself.
MAY_IMPORT = {
    "torchmanifold.parametrize": (),
    "torchmanifold.manifolds": ("torchmanifold.parametrize",),
    "torchmanifold.nn": ("torchmanifold.manifolds", "torchmanifold.parametrize"),
    "torchmanifold.optim": ("torchmanifold.manifolds",),
    "torchmanifold.optim.compare": (
        "torchmanifold.optim",
        "torchmanifold.nn",
        "torchmanifold.manifolds",
        "torchmanifold.parametrize",
    ),
    "torchmanifold.benchmarks": (
        "",
        "torchmanifold.optim.compare",
        "torchmanifold.optim",
        "torchmanifold.nn",
        "torchmanifold.manifolds",
        "torchmanifold.parametrize",
    ),
}

# Inside manifolds: a file imports only from lower rooms. Whatever has no row is a
# manifold and stands on MANIFOLD_FILE.
ORDER = {
    "triangular": -1,
    "linalg": 0,
    "maps": 1,
    "geometry": 2,
    "manifold": 3,
    "combinators": 5,
    "trivialization": 6,
    "record": 7,
    "report": 8,
    "averaging": 8,
    "checkpoint": 8,
    "constrain": 8,
    "": 9,  # manifolds/__init__.py gathers everything
}
MANIFOLD_FILE = 4

# Where other libraries of the field are called.
PEER_FILES = {"torchmanifold.optim.compare.peers", "torchmanifold.benchmarks.peers"}
PEERS = {"geotorch", "geoopt", "pymanopt", "pogo", "mctorch", "geomstats"}


def _package(module: str) -> str:
    """The longest package with a row in MAY_IMPORT that holds the module; "" for the face."""
    return max((name for name in MAY_IMPORT if _within(module, name)), key=len, default="")


def _room(module: str) -> str:
    """The part of a name after ``torchmanifold.manifolds``: its file or folder."""
    return module.removeprefix("torchmanifold.manifolds").lstrip(".").split(".")[0]


@pytest.mark.parametrize("module", sorted(name for name in SOURCES if _package(name)))
def test_a_package_imports_only_what_is_below_it(module: str) -> None:
    package = _package(module)
    # What lies in a package of its own row (optim.compare in optim) is not "itself".
    allowed = {package, *MAY_IMPORT[package]}
    wrong = {name for name in _ours(module) if _package(name) not in allowed}
    assert not wrong, f"{module} imports {sorted(wrong)}; it may import {sorted(allowed)}"


def test_nothing_imports_the_face() -> None:
    face = {name for name in SOURCES if not _package(name)}
    users = {module for module in set(SOURCES) - face if _ours(module) & face}
    assert all(_within(module, "torchmanifold.benchmarks") for module in users), users


def test_maps_and_manifolds_do_not_know_parametrize() -> None:
    users = {
        _room(module)
        for module in SOURCES
        if _within(module, "torchmanifold.manifolds")
        and any(_within(name, "torchmanifold.parametrize") for name in _ours(module))
    }
    assert all(ORDER.get(room, MANIFOLD_FILE) >= ORDER["trivialization"] for room in users), users


@pytest.mark.parametrize(
    "module", sorted(name for name in SOURCES if _within(name, "torchmanifold.manifolds"))
)
def test_inside_manifolds_files_import_from_lower_rooms(module: str) -> None:
    room = _room(module)
    floor = ORDER.get(room, MANIFOLD_FILE)
    for name in _ours(module):
        other = _room(name)
        if not _within(name, "torchmanifold.manifolds") or other == room:
            continue
        assert ORDER.get(other, MANIFOLD_FILE) <= floor, f"{module} imports {name} from above"


def test_manifolds_do_not_import_each_other_in_a_circle() -> None:
    manifolds = [
        name
        for name in SOURCES
        if _within(name, "torchmanifold.manifolds") and _room(name) not in ORDER
    ]
    edges = {name: _ours(name) & set(manifolds) for name in manifolds}
    while leaves := [name for name, below in edges.items() if not below]:
        edges = {name: below - set(leaves) for name, below in edges.items() if below}
    assert not edges, f"these import each other: {edges}"


def test_other_libraries_of_the_field_stay_in_peers() -> None:
    users = {
        module
        for module in SOURCES
        if any(name.split(".")[0] in PEERS for name in _imports(module))
    }
    assert users <= PEER_FILES, users


def test_imports_stand_at_the_top_of_the_file() -> None:
    # A peer may not be installed; the command line answers --help before it loads the rest.
    late = PEER_FILES | {"torchmanifold.cli"}
    for module, path in SOURCES.items():
        for function in ast.walk(_tree(path)):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    assert module in late, f"{module}, line {node.lineno}"


def test_every_folder_with_sources_is_in_the_package_map() -> None:
    found = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    assert found == set(PACKAGES)


def test_no_folder_hides_the_installed_package() -> None:
    assert not (ROOT / "torchmanifold").exists()
    assert not (ROOT / "torchmanifold.py").exists()


def test_no_file_is_a_heap() -> None:
    heaps = [path for path in SOURCES.values() if path.stem in {"utils", "helpers", "misc"}]
    assert not heaps
