"""Trust regions with truncated conjugate gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from torchmanifold.optim.solvers.method import Context
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.state import State
from torchmanifold.optim.solvers.trial import taken, tried
from torchmanifold.optim.solvers.truncated_cg import truncated_cg

__all__ = ["TrustRegion"]


@dataclass(frozen=True)
class TrustRegion:
    """Newton's method within a ball that grows and shrinks, by truncated conjugate gradients.

    The method converges from everywhere, and superlinearly near a minimum: the residual of the
    Newton equation is reduced to `||g|| min(||g||^theta, kappa)`.

    Args:
        theta: the order of convergence minus 1; 1 is quadratic convergence.
        kappa: the least relative accuracy of a step.
        accept: the least ratio of actual to predicted decrease for which a step is accepted.
        radius: the initial radius; by default an eighth of the largest.
        max_radius: the largest radius; by default the root of the dimension.
        inner: the largest number of Hessian-vector products of a step; by default the dimension.

    Source: Absil, Baker & Gallivan, Found. Comput. Math. 7, 2007; Boumal 2023, algorithms 6.3 and
    6.4.
    """

    theta: float = 1.0
    kappa: float = 0.1
    accept: float = 0.1
    radius: float | None = None
    max_radius: float | None = None
    inner: int | None = None

    order = 2

    def __post_init__(self) -> None:
        """Refuse values for which a step is undefined."""
        if not 0 < self.kappa < 1:
            raise ValueError(f"TrustRegion: kappa must lie between 0 and 1, got {self.kappa!r}")
        if not 0 <= self.accept < 0.25:
            raise ValueError(f"TrustRegion: accept must lie in [0, 1/4), got {self.accept!r}")
        for name in ("theta", "radius", "max_radius", "inner"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"TrustRegion: {name} must be positive, got {value!r}")

    def begin(self, objective: Objective, point: Point) -> Scalar:
        """The initial radius."""
        return objective.space.rows.full(self.radius or self._largest(objective) / 8)

    def _largest(self, objective: Objective) -> float:
        return self.max_radius or math.sqrt(max(objective.space.dim, 1))

    def step(
        self, objective: Objective, state: State, point: Point, active: Scalar, context: Context
    ) -> tuple[State, Point, Scalar, Scalar]:
        """One step, accepted or not."""
        rows, radius = objective.space.rows, state.memory
        precondition = context.precondition
        eps = torch.finfo(rows.dtype).eps
        norm = point.norm
        # A residual below the goal, or below rounding, would be wasted work.
        least = rows.most(2 * eps * objective.measure(point), 0.1 * context.goal)
        target = rows.most(norm * rows.least(rows.power(norm, self.theta), self.kappa), least)
        step = truncated_cg(
            rows,
            lambda c: objective.product(point, c),
            point.c,
            radius,
            target,
            self.inner or max(objective.space.dim, 1),
            active,
            (lambda r: precondition(point, r)) if precondition else None,
        )
        trial = tried(objective, point, step.c, step.decrease, self.accept, active)
        shorter = rows.least(radius, step.length) * rows.where(trial.finite, 0.25, 0.1)
        longer = rows.least(2 * radius, self._largest(objective))
        radius = rows.where(
            trial.finite & (trial.ratio >= 0.25),
            rows.where((trial.ratio > 0.75) & step.border, longer, radius),
            shorter,
        )
        return taken(
            objective, state, point, trial, active,
            memory=radius, length=step.length, curvature=step.curvature,
        )  # fmt: skip
