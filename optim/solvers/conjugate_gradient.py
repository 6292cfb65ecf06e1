"""Nonlinear conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor

from torchmanifold.optim.solvers.descent import Descent, Line
from torchmanifold.optim.solvers.gradient_descent import next_trial
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Rows, Scalar

__all__ = ["ConjugateGradient"]

Rule = Literal["HS+", "PR+", "FR", "DY", "HZ"]


@dataclass(frozen=True)
class ConjugateGradient(Descent):
    """Nonlinear conjugate gradients: `d = -grad + beta T d`.

    Args:
        rule: the rule for beta: the positive part of Hestenes-Stiefel or Polak-Ribiere (`"HS+"`,
            `"PR+"`), Fletcher-Reeves, Dai-Yuan or Hager-Zhang.

    Steepest descent replaces a direction that does not descend. The line search makes a second
    trial if the first one was far from the least value.

    Source: Absil, Mahony & Sepulchre 2008, section 8.3; Sakai & Iiduka, Appl. Math. Comput. 2021,
    for the rules on manifolds; Hager & Zhang, SIAM J. Optim. 16, 2005.
    """

    rule: Rule = "HS+"

    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an unknown rule."""
        if self.rule not in get_args(Rule):
            raise ValueError(
                f"ConjugateGradient: rule must be one of {', '.join(get_args(Rule))}, "
                f"got {self.rule!r}"
            )

    def empty(self, rows: Rows, c: Tensor) -> Any:
        """None: only the line is remembered."""
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
        """The direction from the rule."""
        rows = objective.space.rows
        kept, _ = objective.step(new, line.d)
        beta = self._beta(rows, old, new, line, kept)
        d = rows.axpy(-new.c, rows.where(rows.finite(beta), beta, 0.0), kept)
        return d, next_trial(rows, old, new, line, d), None

    def _beta(self, rows: Rows, old: Point, new: Point, line: Line, d: Tensor) -> Scalar:
        gg = new.norm**2
        before = old.norm**2
        if self.rule == "FR":
            return rows.divide(gg, before)
        # <new, T old>: the normal part of the kept coordinates does not count.
        along = rows.dot(new.c, old.c)
        if self.rule == "PR+":
            return rows.most(rows.divide(gg - along, before), 0.0)
        dy = rows.dot(new.c, d) - line.slope
        if self.rule == "DY":
            return rows.divide(gg, dy)
        if self.rule == "HS+":
            return rows.most(rows.divide(gg - along, dy), 0.0)
        yy = gg - 2 * along + before
        beta = rows.divide(gg - along - 2 * rows.divide(yy, dy) * rows.dot(new.c, d), dy)
        floor = rows.divide(-rows.full(1.0), rows.norm(line.d) * rows.least(old.norm, 0.01))
        return rows.most(beta, floor)
