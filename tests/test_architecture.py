"""The import order of the packages, read from the sources without running them.

One line for each folder states the folders that it may import. A file may always import from its
own folder, and nothing imports `api`.
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
    """The full names of all imports of a module, anywhere in the file."""
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


COMPARED = " ".join(f"optim.compare.{room}" for room in ("problems", "methods", "engine", "report"))
ALL_BELOW = "optim.compare optim.solvers optim nn weights manifolds manifolds.linalg parametrize"

# Folder -> the folders that it may import, beside itself. The longest folder that fits a file
# counts.
MAY_IMPORT = {
    "parametrize": "",
    "manifolds": "manifolds.geometry manifolds.maps manifolds.linalg",
    "manifolds.geometry": "manifolds.maps manifolds.linalg",
    "manifolds.maps.modules": "manifolds.maps manifolds.linalg",
    "manifolds.maps": "manifolds.linalg",
    "manifolds.linalg": "",
    "weights": "manifolds manifolds.linalg parametrize",
    "nn": "weights manifolds manifolds.linalg parametrize",
    "optim": "weights manifolds manifolds.linalg parametrize",
    "optim.solvers": "manifolds",
    "optim.compare": f"{COMPARED} optim optim.solvers nn weights manifolds manifolds.linalg",
    "optim.compare.problems": "optim.compare nn weights manifolds manifolds.maps",
    "optim.compare.methods": "optim.compare optim.compare.problems optim nn weights manifolds",
    "optim.compare.engine": "optim.compare",
    "optim.compare.report": "optim.compare optim.compare.problems optim.compare.methods manifolds",
    "benchmarks": f"api {ALL_BELOW}",
    "api": f"cli benchmarks manifolds.maps {ALL_BELOW}",
    "cli": "",
}

# Here the solvers handle modules.
TAKES_MODULES = {"torchmanifold.optim.solvers.modules": "weights"}

# The `__init__.py` of these folders gathers names from their subfolders.
FACES = {
    "manifolds.maps": ("manifolds.maps.modules",),
    "optim": ("optim.compare",),
}

# The files that call other libraries of the field.
PEER_FILES = {
    "torchmanifold.optim.compare.methods.libraries",
    "torchmanifold.benchmarks.peers",
}
PEERS = {"geotorch", "geoopt", "pymanopt", "pogo", "mctorch", "geomstats"}


def _folder(module: str) -> str:
    """The longest folder with a line in MAY_IMPORT that holds the module."""
    inner = module.removeprefix("torchmanifold").lstrip(".")
    holding = [name for name in MAY_IMPORT if _within(inner, name)]
    return max(holding, key=len, default="api")


def _circle(edges: dict[str, set[str]]) -> set[str]:
    """The modules that are left after repeatedly removing those that import none of the rest."""
    while leaves := {name for name, below in edges.items() if not below & set(edges)}:
        edges = {name: below for name, below in edges.items() if name not in leaves}
    return set(edges)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_its_line_says(folder: str) -> None:
    modules = [name for name in SOURCES if _folder(name) == folder]
    assert modules, f"no file lies in {folder}"
    for module in modules:
        allowed = {folder, *MAY_IMPORT[folder].split()}
        allowed |= {TAKES_MODULES.get(module, folder)}
        if SOURCES[module].name == "__init__.py":
            allowed |= set(FACES.get(folder, ()))
        wrong = {name for name in _ours(module) if _folder(name) not in allowed}
        assert not wrong, f"{module} imports {sorted(wrong)}; it may import {sorted(allowed)}"


def test_files_do_not_import_each_other_in_a_circle() -> None:
    # An `__init__.py` gathers the names of its folder, so its import counts only for itself.
    faces = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    edges = {name: _ours(name) - faces for name in SOURCES if name not in faces}
    assert not _circle(edges)


def test_manifolds_import_no_other_manifold() -> None:
    manifolds = {name for name in SOURCES if _folder(name) == "manifolds" and name.count(".") == 2}
    for module in manifolds:
        # A product of spheres is a view of the sphere.
        views = {"torchmanifold.manifolds.oblique", "torchmanifold.manifolds.complex_circle"}
        allowed = {"torchmanifold.manifolds.sphere"} if module in views else set()
        others = _ours(module) & (manifolds - {module} - allowed)
        assert not others, f"{module} imports {sorted(others)}"


def test_no_private_name_crosses_a_room() -> None:
    for module in SOURCES:
        for node in ast.walk(_tree(SOURCES[module])):
            if isinstance(node, ast.ImportFrom) and _within(node.module or "", "torchmanifold"):
                private = [a.name for a in node.names if a.name.startswith("_")]
                assert not private, f"{module} imports {private} from {node.module}"


def test_no_file_is_longer_than_one_algorithm() -> None:
    # One algorithm each, with its constants and its adjoint.
    whole = {"manifolds/maps/spectral.py"}
    for path in SOURCES.values():
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= 300 or str(path.relative_to(ROOT)) in whole, f"{path}: {lines} lines"


def test_other_libraries_of_the_field_stay_in_peers() -> None:
    users = {
        module
        for module in SOURCES
        if any(name.split(".")[0] in PEERS for name in _imports(module))
    }
    assert users <= PEER_FILES, users


def test_imports_stand_at_the_top_of_the_file() -> None:
    # A peer may not be installed, nor what the command line needs; few runs need scikit-learn.
    late = PEER_FILES | {"torchmanifold.__main__", "torchmanifold.optim.compare.problems.datasets"}
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
