"""Lookup of problems and methods: in our tables, entry points, and a user's modules and files.

A reference is a name in our tables (`"pca"`), `"package.module:name"` or `"file.py:name"`. Another
process, on this machine or another, finds the same problem or method by it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from torchmanifold.optim.compare.method import Method
from torchmanifold.optim.compare.methods import METHODS
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.problems import PROBLEMS

__all__ = [
    "Loading",
    "find_method",
    "find_problem",
    "give",
    "is_loading",
    "is_ours",
    "load_file",
    "problems_of",
]

T = TypeVar("T", Problem, Method)

GROUPS = {Problem: "torchmanifold.problems", Method: "torchmanifold.methods"}
WORDS = {Problem: "problem", Method: "method"}


class Loading(BaseException):
    """Raised by `run` while its own file is being read for its definitions."""


# Objects that this process was given; they may be defined in a notebook, or in the script itself.
_given: dict[tuple[type, str], Problem | Method] = {}
_files: dict[Path, ModuleType] = {}
_reading: list[Path] = []


def is_loading() -> bool:
    """Whether a user's file is being read for its definitions."""
    return bool(_reading)


def load_file(path: Path) -> ModuleType:
    """The module of a file, which each process reads once.

    A call of `tm.compare.run` in the file ends the reading; everything above the call is defined.

    Raises:
        ValueError: if there is no such file, or it raises.
    """
    path = path.resolve()
    if path in _files:
        return _files[path]
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    vars(module)["__experiment__"] = True
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))  # it may import its neighbours, as a script does
    _reading.append(path)
    try:
        spec.loader.exec_module(module)
    except Loading:
        pass  # everything above the call of `run` is defined
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    finally:
        _reading.pop()
        sys.path.remove(str(path.parent))
    _files[path] = module
    return module


def _is_file(reference: str) -> bool:
    return reference.partition(":")[0].endswith(".py")


def _holder(reference: str) -> tuple[ModuleType, str]:
    """The module of a reference with a colon, and the name in it."""
    where, _, name = reference.rpartition(":")
    if _is_file(where):
        return load_file(Path(where)), name
    try:
        return importlib.import_module(where), name
    except ImportError as error:
        raise ValueError(f"{reference}: the module {where} cannot be imported: {error}") from error


def give(value: Problem | Method) -> None:
    """Register an object of this process, so that its reference or name finds it."""
    _given[type(value), value.reference or value.name] = value


def is_ours(value: Problem | Method) -> bool:
    """Whether our own tables have it, perhaps under another name and with other parameters."""
    if isinstance(value, Problem):
        ours = PROBLEMS.get(value.reference)
        return ours is not None and ours.make is value.make
    return value.name in METHODS and value.reference in ("", value.name)


def _find(kind: type[T], reference: str, table: Mapping[str, T]) -> T:
    given = _given.get((kind, reference))
    if isinstance(given, kind):
        return given
    if ":" in reference:
        module, name = _holder(reference)
        found = getattr(module, name, None)
        if not isinstance(found, kind):
            there = [key for key, value in vars(module).items() if isinstance(value, kind)]
            raise ValueError(
                f"{reference}: there is no {WORDS[kind]} {name!r}; "
                f"there {'is' if there else 'are none'} {', '.join(there)}".rstrip()
            )
        return found
    if reference in table:
        return table[reference]
    for entry in entry_points(group=GROUPS[kind]):
        if entry.name == reference:
            found = entry.load()
            if not isinstance(found, kind):
                raise ValueError(f"the entry point {reference} is not a {WORDS[kind]}: {found!r}")
            return found
    near = difflib.get_close_matches(reference.lower(), list(table), n=3, cutoff=0.5)
    hint = f"near matches: {', '.join(near)}; " if near else ""
    raise ValueError(f"unknown {WORDS[kind]} '{reference}'; {hint}see all with: torchmanifold list")


def find_problem(reference: str) -> Problem:
    """The problem of a reference.

    Raises:
        ValueError: if there is none; near matches are named.

    Example:
        >>> find_problem("pca").title
        'Dominant subspace of the digits, St(64, 10)'
    """
    return _find(Problem, reference, PROBLEMS)


def find_method(reference: str) -> Method:
    """The method of a reference.

    Raises:
        ValueError: if there is none; near matches are named.

    Example:
        >>> find_method("trust-region").about
        'tm.minimize: trust region with truncated conjugate gradients'
    """
    return _find(Method, reference, METHODS)


def problems_of(reference: str) -> tuple[list[Problem], list[Method]]:
    """All problems and methods of a file, or the one problem of another reference.

    Raises:
        ValueError: if the file has no problem.
    """
    if not _is_file(reference) or ":" in reference:
        return [find_problem(reference)], []
    module = load_file(Path(reference))
    values = list(vars(module).values())
    problems = [value for value in values if isinstance(value, Problem)]
    methods = [value for value in values if isinstance(value, Method)]
    if not problems:
        raise ValueError(
            f"{reference} has no problem; decorate a function with "
            "@tm.compare.problem(manifold=...)"
        )
    mine = [p for p in problems if p.reference.startswith(str(Path(reference).resolve()))]
    return mine or problems, methods
