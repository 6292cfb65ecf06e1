"""From an objective to a result: begin or continue, run, and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from torchmanifold.optim.solvers.columns import Progress
from torchmanifold.optim.solvers.first_point import first_point
from torchmanifold.optim.solvers.loop import Run, first_state, run
from torchmanifold.optim.solvers.method import Method
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.result import Result
from torchmanifold.optim.solvers.saved import SolverState
from torchmanifold.optim.solvers.stop import Criterion
from torchmanifold.optim.solvers.summary import result_of
from torchmanifold.optim.solvers.watch import Info, recorder, watcher

__all__ = ["solve"]


def solve(
    method: Method,
    objective: Objective,
    x0: Any,
    value: Tensor,
    criteria: Criterion,
    *,
    precondition: Callable[[Point, Tensor], Tensor] | None = None,
    callback: Callable[[Info], Any] | None = None,
    record: Sequence[str | Callable[..., Any]] = (),
    state: Any = None,
    verbose: bool = False,
) -> Result:
    """Run a method from `x0`, where `fun` gave `value`, or from the state of an earlier run.

    Raises:
        ValueError: if the value or the gradient at `x0` is not finite, or if the state does not
            fit.
    """
    if state is None:
        point = first_point(objective, x0, value)
        begun = Run(first_state(method, objective, point))
    else:
        saved = state if isinstance(state, SolverState) else SolverState.from_dict(state)
        begun = saved.restored(method, objective)
        point = objective.evaluate(begun.state.x)
        objective.counts.nfev, objective.counts.njev, objective.counts.nhev = begun.counts
    recorded = recorder(record)
    progress = Progress(objective) if verbose else None
    if progress:
        progress.show(objective, begun.state, begun.seconds)
    ended = run(
        method,
        objective,
        begun,
        point,
        criteria,
        precondition=precondition,
        watch=watcher(callback, progress),
        record=recorded,
    )
    result = result_of(objective, method, ended, criteria)
    if progress:
        progress.show(objective, ended.state, ended.seconds, last=True)
        print(result.message)
    return result
