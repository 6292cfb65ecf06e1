"""Barzilai-Borwein: steepest descent, with the length of a quasi-Newton step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchmanifold.optim.solvers.descent import Descent, Line
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Rows, Scalar

__all__ = ["BarzilaiBorwein"]


@dataclass(frozen=True)
class BarzilaiBorwein(Descent):
    """Steepest descent with alternating long and short Barzilai-Borwein steps.

    The value may rise for a while, but stays below the largest of the last `memory` values.

    Source: Iannazzo & Porcelli, IMA J. Numer. Anal. 38, 2018; Grippo, Lampariello & Lucidi, SIAM
    J. Numer. Anal. 23, 1986, for the search.
    """

    memory: int = 10

    def __post_init__(self) -> None:
        """Refuse a memory that is not a positive integer."""
        if not isinstance(self.memory, int) or self.memory < 1:
            raise ValueError(f"BarzilaiBorwein: memory must be at least 1, got {self.memory!r}")

    @property
    def window(self) -> int:
        """The number of earlier values with which the search compares."""
        return self.memory

    def empty(self, rows: Rows, c: Tensor) -> Any:
        """Whether the next step is a long one."""
        return rows.full(True)

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
        """Steepest descent, with the other kind of length than in the last step."""
        rows = objective.space.rows
        y = new.c - old.c
        sy = rows.dot(s, y)
        long = rows.divide(rows.dot(s, s), sy)
        short = rows.divide(sy, rows.dot(y, y))
        t = rows.where(memory, long, short)
        # If the curvature is negative, a step does not determine the next length; take a longer
        # one.
        t = rows.where(sy > 0, rows.least(rows.most(t, 1e-10), 1e10), 2 * line.t)
        return -new.c, t, rows.no(memory)
