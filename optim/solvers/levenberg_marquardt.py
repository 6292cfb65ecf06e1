"""Levenberg-Marquardt: damped Gauss-Newton steps for sums of squares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchmanifold.optim.solvers.method import Context
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.state import State
from torchmanifold.optim.solvers.trial import taken, tried
from torchmanifold.optim.solvers.truncated_cg import truncated_cg

__all__ = ["LevenbergMarquardt"]


@dataclass(frozen=True)
class LevenbergMarquardt:
    """Steps `(J'J + damping I) c = -J'r` by conjugate gradients, without forming `J`.

    The damping falls if the model predicts the decrease well. It grows, faster and faster, if a
    step is refused.

    Args:
        damping: the initial damping, in units of the largest curvature along the gradient.
        kappa: the relative accuracy of a step, which tends to zero with the gradient.
        inner: the largest number of products of a step; by default the dimension.

    Source: Marquardt, J. SIAM 11, 1963; Nielsen, Damping parameter in Marquardt's method, IMM
    1999-05; Boumal 2023, section 8.4 (Gauss-Newton on manifolds).
    """

    damping: float = 1e-3
    kappa: float = 0.1
    inner: int | None = None

    order = 2

    def __post_init__(self) -> None:
        """Refuse values for which a step is undefined."""
        if not self.damping > 0:
            raise ValueError(f"LevenbergMarquardt: damping must be positive, got {self.damping!r}")
        if not 0 < self.kappa < 1:
            raise ValueError(
                f"LevenbergMarquardt: kappa must lie between 0 and 1, got {self.kappa!r}"
            )
        if self.inner is not None and not self.inner > 0:
            raise ValueError(f"LevenbergMarquardt: inner must be positive, got {self.inner!r}")

    def begin(self, objective: Objective, point: Point) -> tuple[Scalar, Scalar]:
        """The initial damping, and the factor by which it grows."""
        rows = objective.space.rows
        g = point.c
        curvature = rows.divide(rows.dot(g, objective.product(point, g)), rows.dot(g, g))
        tiny = torch.finfo(rows.dtype).tiny
        known = rows.where(rows.finite(curvature), curvature, 1.0)
        return self.damping * rows.most(known, tiny), rows.full(2.0)

    def step(
        self, objective: Objective, state: State, point: Point, active: Scalar, context: Context
    ) -> tuple[State, Point, Scalar, Scalar]:
        """One step, accepted or not."""
        rows = objective.space.rows
        damping, growth = state.memory
        eps = torch.finfo(rows.dtype).eps
        norm = point.norm
        least = rows.most(2 * eps * objective.measure(point), 0.1 * context.goal)
        target = rows.most(norm * rows.least(rows.sqrt(norm), self.kappa), least)

        def damped(c: Tensor) -> Tensor:
            return rows.axpy(objective.product(point, c), damping, c)

        step = truncated_cg(
            rows,
            damped,
            point.c,
            rows.full(float("inf")),
            target,
            self.inner or max(objective.space.dim, 1),
            active,
        )
        # The model's own decrease, without the damping.
        predicted = step.decrease + damping * step.length**2 / 2
        trial = tried(objective, point, step.c, predicted, 1e-4, active)
        cube = (2 * trial.ratio - 1) ** 3
        factor = rows.where(trial.good, rows.most(1 - cube, 1 / 3), growth)
        memory = damping * factor, rows.where(trial.good, 2.0, 2 * growth)
        return taken(
            objective, state, point, trial, active,
            memory=memory, length=step.length, curvature=step.curvature,
        )  # fmt: skip
