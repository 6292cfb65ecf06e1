"""Private names of torch stand in one file of each package, each with its meaning."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Private attributes of tensors and modules; a subclass may read its own.
ATTRIBUTES = {
    *("_version", "_base"),
    *("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"),
}


def private_names(path):
    """The private names of torch in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
            owner = ast.unparse(node.value)
            if node.attr in ATTRIBUTES and owner != "self":
                yield names[0]
        for name in names:
            root, *parts = name.split(".")
            if root in {"torch", "asyncio"} and any(p[0] == "_" and p[1] != "_" for p in parts):
                yield name


@pytest.mark.parametrize("package", ["parametrize", "nn"])
def test_private_names_stand_in_one_file(package):
    files = sorted((ROOT / package).glob("*.py"))
    users = {path.name: names for path in files if (names := sorted(set(private_names(path))))}
    assert set(users) == {"private.py"}, users
