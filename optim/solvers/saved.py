"""The state of a solver as a value that is saved, loaded and continued bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchmanifold.optim.solvers.loop import Run, first_state
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.state import FAILED, PRECISION, RUNNING

__all__ = ["SolverState"]


def _walk(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for field in dataclasses.fields(tree):
            yield from _walk(
                getattr(tree, field.name), f"{name}.{field.name}" if name else field.name
            )
    elif isinstance(tree, tuple):
        for number, part in enumerate(tree):
            yield from _walk(part, f"{name}.{number}")
    else:
        yield name, tree


def _filled(tree: Any, name: str, values: dict[str, Any]) -> Any:
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        parts = {
            field.name: _filled(
                getattr(tree, field.name), f"{name}.{field.name}" if name else field.name, values
            )
            for field in dataclasses.fields(tree)
        }
        return dataclasses.replace(tree, **parts)
    if isinstance(tree, tuple):
        return tuple(_filled(part, f"{name}.{n}", values) for n, part in enumerate(tree))
    if name not in values:
        raise ValueError(f"state: {name} is missing; it was saved by another method")
    value = values[name]
    if isinstance(tree, Tensor) and (
        not isinstance(value, Tensor) or value.shape != tree.shape or value.dtype != tree.dtype
    ):
        raise ValueError(f"state: {name} was saved by another method, or of another x0")
    return value.clone() if isinstance(value, Tensor) else value


@dataclass(frozen=True)
class SolverState:
    """The state of a stopped solver: `minimize(..., state=state)` goes on as if it had not stopped.

    Args:
        method: the method in words.
        values: tensors and numbers by name.

    Example:
        >>> import torch, torchmanifold as tm
        >>> a, x0 = torch.diag(torch.arange(9.0)), tm.Sphere().random(9)
        >>> fun = lambda x: x @ a @ x
        >>> half = tm.minimize(fun, x0, tm.Sphere(), stop=tm.stop.Iterations(2))
        >>> saved = half.state.state_dict()  # for torch.save
        >>> result = tm.minimize(fun, x0, tm.Sphere(), state=saved)
    """

    method: str
    values: dict[str, Any]

    @staticmethod
    def of(method: Any, run: Run) -> SolverState:
        """The state of a run."""
        values = dict(_walk(run.state, ""))
        values |= {"kept": run.kept, "counts": run.counts, "seconds": run.seconds}
        return SolverState(repr(method), values)

    def state_dict(self) -> dict[str, Any]:
        """The state as a dictionary of tensors and numbers."""
        return {"method": self.method, **self.values}

    @staticmethod
    def from_dict(saved: dict[str, Any]) -> SolverState:
        """The state from a dictionary that `state_dict` returned."""
        values = dict(saved)
        return SolverState(values.pop("method"), values)

    def restored(self, method: Any, objective: Objective) -> Run:
        """The run to continue.

        Raises:
            ValueError: if it is the state of another method or of other points.
        """
        if self.method != repr(method):
            raise ValueError(f"state: it was saved by {self.method}, the method is {method!r}")
        x = tuple(self.values[f"x.{n}"] for n in range(len(objective.space.leaves)))
        counts = dataclasses.replace(objective.counts)
        like = first_state(method, objective, objective.evaluate(x))
        objective.counts.__dict__.update(counts.__dict__)
        state = _filled(like, "", self.values)
        # A problem that a criterion stopped goes on if the new criteria let it; a failed one does
        # not.
        rows = objective.space.rows
        over = (state.verdict == PRECISION) | (state.verdict == FAILED)
        state = dataclasses.replace(state, verdict=rows.where(over, state.verdict, RUNNING))
        kept = self.values["kept"]
        return Run(state, kept, tuple(self.values["counts"]), self.values["seconds"])
