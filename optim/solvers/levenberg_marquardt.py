"""Levenberg-Marquardt: damped Gauss-Newton steps for sums of squares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchmanifold.optim.solvers.method import Context
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.state import PRECISION, RUNNING, State
from torchmanifold.optim.solvers.truncated_cg import truncated_cg

__all__ = ["LevenbergMarquardt"]

_ROUNDING = 10.0


@dataclass(frozen=True)
class LevenbergMarquardt:
    """Steps `(J'J + damping I) c = -J'r` by conjugate gradients, without forming `J`.

    The damping falls where the model predicts the decrease well, and grows, faster and faster,
    where a step is refused.

    Args:
        damping: the first one, in units of the largest curvature along the gradient.
        kappa: the relative accuracy of a step, which tends to zero with the gradient.
        inner: the most products of a step; by default the dimension.

    Source: Marquardt, J. SIAM 11, 1963; Nielsen, Damping parameter in Marquardt's method, IMM
    1999-05; Boumal 2023, section 8.4 (Gauss-Newton on manifolds).
    """

    damping: float = 1e-3
    kappa: float = 0.1
    inner: int | None = None

    order = 2

    def __post_init__(self) -> None:
        """Refuse what makes no step."""
        if not self.damping > 0:
            raise ValueError(f"LevenbergMarquardt: damping must be positive, got {self.damping!r}")
        if not 0 < self.kappa < 1:
            raise ValueError(
                f"LevenbergMarquardt: kappa must lie between 0 and 1, got {self.kappa!r}"
            )
        if self.inner is not None and not self.inner > 0:
            raise ValueError(f"LevenbergMarquardt: inner must be positive, got {self.inner!r}")

    def begin(self, objective: Objective, point: Point) -> tuple[Scalar, Scalar]:
        """The first damping, and the factor by which it grows."""
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
        x, _ = objective.moved(point, step.c)
        trial = objective.value(x)
        fell, level = point.f - trial.f, _ROUNDING * eps * abs(point.f)
        rounding = (predicted <= level) & (abs(fell) <= level)
        ratio = rows.where(rounding, 1.0, rows.divide(fell, predicted))
        finite = rows.finite(trial.f)
        good = finite & (ratio > 1e-4)
        some, fails = rows.split(good, active)
        if some:
            objective.gradient(trial)
            good = good & rows.finite(trial.norm)
            some, fails = rows.split(good, active)
        cube = (2 * ratio - 1) ** 3
        factor = rows.where(good, rows.most(1 - cube, 1 / 3), growth)
        memory = damping * factor, rows.where(good, 2.0, 2 * growth)
        size = rows.norm(objective.space.vector(point.x)) if fails else rows.full(0.0)
        lost = rows.no(good) & (step.length <= eps * rows.most(size, eps))
        state = replace(
            state,
            memory=memory,
            nit=state.nit + 1,
            verdict=rows.where(lost, PRECISION, RUNNING),
            curvature=step.curvature,
            fell=rows.where(good, fell, 0.0),
        )
        if not some:
            return state, point, good, rounding
        accepted = replace(
            state, x=trial.x, f=trial.f, c=trial.c, norm=trial.norm, step=step.length
        )
        if not fails:
            return accepted, trial, good, rounding
        merged = rows.merge(good, accepted, state)
        # One graph for the points of all problems.
        return merged, objective.evaluate(merged.x), good, rounding
