"""Barzilai-Borwein: the steepest descent, with the length of a quasi-Newton step."""

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
    """The steepest descent with alternating long and short Barzilai-Borwein steps.

    The value may rise for a while: it is held below the largest of the last `memory` values.

    Source: Iannazzo & Porcelli, IMA J. Numer. Anal. 38, 2018; Grippo, Lampariello & Lucidi, SIAM
    J. Numer. Anal. 23, 1986, for the search.
    """

    memory: int = 10

    def __post_init__(self) -> None:
        """Refuse a memory that is no positive integer."""
        if not isinstance(self.memory, int) or self.memory < 1:
            raise ValueError(f"BarzilaiBorwein: memory must be at least 1, got {self.memory!r}")

    @property
    def window(self) -> int:
        """The values that the search looks back on."""
        return self.memory

    def empty(self, rows: Rows, c: Tensor) -> Any:
        """Is the next step a long one?"""
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
        """The steepest descent, with the other length than before."""
        rows = objective.space.rows
        y = new.c - old.c
        sy = rows.dot(s, y)
        long = rows.divide(rows.dot(s, s), sy)
        short = rows.divide(sy, rows.dot(y, y))
        t = rows.where(memory, long, short)
        # Where the curvature is negative a step says nothing of the next length: a longer one.
        t = rows.where(sy > 0, rows.least(rows.most(t, 1e-10), 1e10), 2 * line.t)
        return -new.c, t, rows.no(memory)
