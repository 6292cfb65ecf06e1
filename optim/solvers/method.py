"""The interface of a method to the loop that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.state import State

__all__ = ["Context", "Method"]


class Method(Protocol):
    """A way to make a step, on rows."""

    @property
    def order(self) -> int:
        """The order of the derivatives that it needs: 0, 1 or 2."""

    def begin(self, objective: Objective, point: Point) -> Any:
        """The initial memory."""

    def step(
        self, objective: Objective, state: State, point: Point, active: Scalar, context: Context
    ) -> tuple[State, Point, Scalar, Scalar]:
        """State and point after a step, and masks of acceptance and of mere rounding."""


@dataclass(frozen=True)
class Context:
    """The data that a step may use beside the objective.

    Args:
        goal: the norm of the gradient at which the solver stops; 0 if unknown.
        precondition: an approximate inverse of the Hessian, on vectors at a point.
    """

    goal: float = 0.0
    precondition: Callable[[Point, Tensor], Tensor] | None = None
