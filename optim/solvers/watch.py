"""The view of a running solver for its user: callbacks and the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from torchmanifold.optim.solvers.columns import Progress
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.state import State

__all__ = ["Info", "recorder", "watcher"]


@dataclass(frozen=True)
class Info:
    """The argument of a callback after an iteration.

    Args:
        x: the point, in the form of `x0`; `fun` is its value, and `gradient_norm` the norm of the
            gradient.
        nit: iterations of each problem.
        step: the length of the last step.
        nfev: evaluations so far; `seconds` is the time so far.
        nhev: Hessian-vector products so far.
    """

    x: Any
    fun: Any
    gradient_norm: Any
    nit: Any
    step: Any
    nfev: int
    seconds: float
    nhev: int = 0


def _info(objective: Objective, state: State, seconds: float) -> Info:
    space = objective.space
    return Info(
        space.give_out(state.x),
        _shaped(space.problems, state.f),
        _shaped(space.problems, state.norm),
        _shaped(space.problems, state.nit),
        _shaped(space.problems, state.step),
        objective.counts.nfev,
        seconds,
        objective.counts.nhev,
    )


def _shaped(problems: tuple[int, ...], value: Any) -> Any:
    return value.reshape(problems) if isinstance(value, Tensor) and problems != () else value


def watcher(callback: Callable[[Info], Any] | None, progress: Progress | None = None) -> Any:
    """The function that the loop calls after each iteration."""
    if callback is None and progress is None:
        return None

    def watch(
        objective: Objective, state: State, point: Point, good: Scalar, seconds: float
    ) -> Scalar:
        if progress is not None:
            progress.show(objective, state, seconds)
        told = callback is not None and callback(_info(objective, state, seconds))
        return objective.space.rows.full(True) if told is True else None

    return watch


def recorder(record: Sequence[str | Callable[..., Any]]) -> Any:
    """The function that gives the loop the entries of the history."""
    known = [field.name for field in fields(Info)]
    for entry in record:
        if not callable(entry) and entry not in known:
            raise ValueError(f"record: expected functions or names of {known}, got {entry!r}")
    if not record:
        return None
    simple = {"fun": "f", "gradient_norm": "norm", "nit": "nit", "step": "step"}

    def entries(objective: Objective, state: State, point: Point) -> dict[str, Any]:
        found = {}
        for entry in record:
            if isinstance(entry, str) and entry in simple:
                found[entry] = getattr(state, simple[entry])
                continue
            info = _info(objective, state, 0.0)
            if isinstance(entry, str):
                found[entry] = getattr(info, entry)
            else:
                found[getattr(entry, "__name__", repr(entry))] = entry(info)
        return found

    return entries
