"""The output of `torchmanifold list`: problems, methods, and the tables of manifolds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from torchmanifold import manifolds
from torchmanifold.manifolds import Manifold
from torchmanifold.optim.compare.methods import METHODS
from torchmanifold.optim.compare.presets import PRESETS
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.problems import PROBLEMS

__all__ = ["catalog"]


def _kinds() -> Iterator[type[Manifold]]:
    """The manifolds with tables of their own; combinators use those of their inner manifolds."""
    for name in manifolds.__all__:
        kind = getattr(manifolds, name)
        is_kind = isinstance(kind, type) and issubclass(kind, Manifold)
        if is_kind and isinstance(vars(kind).get("retractions"), Mapping):
            yield kind


def _table(title: str, *columns: str) -> Table:
    view = Table(title=title, title_justify="left", title_style="bold", show_edge=False)
    for column in columns:
        view.add_column(column)
    return view


def _options(problem: Problem) -> str:
    options = [f"--{name.replace('_', '-')} {value}" for name, value in problem.parameters.items()]
    presets = [name for name in problem.presets if name != "small"]
    return ", ".join(options + [f"--preset {name}" for name in presets])


def _problems() -> Table:
    view = _table("Problems", "name", "what", "optimum", "precision", "parameters and presets")
    for problem in PROBLEMS.values():
        dtypes = ", ".join(problem.dtypes)
        view.add_row(problem.name, problem.title, problem.optimum, dtypes, _options(problem))
    return view


def _methods() -> Table:
    title = "Methods (--method; * in the preset quick)"
    view = _table(title, "names", "what", "problems")
    groups: dict[tuple[str, str], list[str]] = {}
    for name, method in METHODS.items():
        starred = name + ("*" if name in PRESETS["quick"].methods else "")
        served = [p.name for p in PROBLEMS.values() if method.works_on(p)]
        where = "all" if len(served) == len(PROBLEMS) else ", ".join(served)
        groups.setdefault((method.about, where), []).append(starred)
    for (about, where), names in groups.items():
        view.add_row("  ".join(names), about, where)
    return view


def _manifolds() -> Table:
    title = "Manifolds: with each metric its retractions and their order"
    view = _table(title, "manifold", "metric", "retractions (order); the default comes first")
    for kind in _kinds():
        for i, metric in enumerate(kind.metrics):  # type: ignore[arg-type, var-annotated]
            rules = kind.retractions.items()  # type: ignore[attr-defined]
            orders = {r.__name__: rule.order[metric] for r, rule in rules if metric in rule.order}
            text = ", ".join(f"{name} ({order})" for name, order in orders.items())
            view.add_row(kind.__name__ if i == 0 else "", metric.__name__, text or "none")
    return view


def catalog() -> list[Table]:
    """The three tables.

    Example:
        >>> [table.title.split()[0] for table in catalog()]
        ['Problems', 'Methods', 'Manifolds:']
    """
    return [_problems(), _methods(), _manifolds()]
