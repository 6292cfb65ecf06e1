"""What `torchmanifold list` prints: problems, methods, networks, and manifolds by their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from torchmanifold import manifolds
from torchmanifold.manifolds import Manifold
from torchmanifold.optim.compare.methods import METHODS, manifolds_of
from torchmanifold.optim.compare.problems import PROBLEMS
from torchmanifold.optim.compare.recurrent import RECURRENT
from torchmanifold.optim.compare.settings import PRESETS, task

__all__ = ["catalog"]


def _kinds() -> Iterator[type[Manifold]]:
    """The manifolds that keep tables of their own; combinators take those of what they wrap."""
    for name in manifolds.__all__:
        kind = getattr(manifolds, name)
        if isinstance(kind, type) and issubclass(kind, Manifold):
            if isinstance(vars(kind).get("retractions"), Mapping):
                yield kind


def _table(title: str, *columns: str) -> Table:
    view = Table(title=title, title_justify="left", title_style="bold", show_edge=False)
    for column in columns:
        view.add_column(column)
    return view


def _problems() -> Table:
    view = _table("Problems (--problem)", "name", "what", "optimum", "precision (--dtype)")
    for name in PROBLEMS:
        problem = task(name)
        view.add_row(name, problem.title, problem.optimum, ", ".join(problem.dtypes))
    return view


def _methods() -> Table:
    view = _table("Methods (--method; * in the preset quick)", "names", "what", "manifolds")
    groups: dict[tuple[str, str], list[str]] = {}
    for name, method in METHODS.items():
        starred = name + ("*" if name in PRESETS["quick"].methods else "")
        groups.setdefault((method.about, _names(name)), []).append(starred)
    for (about, where), names in groups.items():
        view.add_row("  ".join(names), about, where)
    return view


def _recurrent() -> Table:
    view = _table("Recurrent networks (compare rnn-copy, rnn-adding, rnn-mnist)", "name", "what")
    for method in RECURRENT.values():
        view.add_row(method.name, method.about)
    return view


def _names(method: str) -> str:
    if not METHODS[method].constrained:
        return "none: digits-rnn alone"
    return ", ".join(kind.__name__ for kind in manifolds_of(METHODS[method]))


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
    """The four tables.

    Example:
        >>> [table.title.split()[0] for table in catalog()]
        ['Problems', 'Methods', 'Recurrent', 'Manifolds:']
    """
    return [_problems(), _methods(), _recurrent(), _manifolds()]
