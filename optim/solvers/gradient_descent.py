"""Gradient descent: steepest descent, with a line search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchmanifold.optim.solvers.descent import Descent, Line
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Rows, Scalar

__all__ = ["GradientDescent", "next_trial"]


def next_trial(rows: Rows, old: Point, new: Point, line: Line, d: Tensor) -> Scalar:
    """A trial with the same predicted decrease, to first order, as the last step.

    The last step is first corrected to the place where the slope would have been zero.
    """
    after = rows.dot(new.c, line.d)
    secant = rows.divide(line.slope, line.slope - after)
    secant = rows.where(after > line.slope, rows.least(rows.most(secant, 0.1), 10.0), 10.0)
    ratio = rows.divide(line.slope, rows.dot(new.c, d))
    ratio = rows.where(ratio > 0, rows.least(ratio, 10.0), 1.0)
    return line.t * secant * ratio


@dataclass(frozen=True)
class GradientDescent(Descent):
    """Steepest descent, with an Armijo line search.

    The length of the first trial comes from the last line, corrected to the place where its slope
    would have been zero. The method is slow, simple and monotone; `BarzilaiBorwein` has the same
    cost for each iteration and needs far fewer iterations.

    Source: Absil, Mahony & Sepulchre 2008, section 4.2.
    """

    def empty(self, rows: Rows, c: Tensor) -> Any:
        """None: nothing is remembered."""
        return None

    def next(
        self,
        objective: Objective,
        memory: Any,
        old: Point,
        new: Point,
        line: Line,
        s: Tensor,
        good: Scalar,
    ) -> tuple[Tensor, Scalar, Any]:
        """Steepest descent."""
        rows = objective.space.rows
        d = -new.c
        return d, next_trial(rows, old, new, line, d), None
