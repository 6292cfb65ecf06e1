"""Adaptive regularization with cubics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from torchmanifold.optim.solvers.lanczos import cubic_lanczos
from torchmanifold.optim.solvers.method import Context
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.state import State
from torchmanifold.optim.solvers.trial import taken, tried

__all__ = ["AdaptiveCubic"]


@dataclass(frozen=True)
class AdaptiveCubic:
    """Newton's method with a cubic term, `sigma ||c||^3 / 3`, in place of a ball.

    The weight `sigma` falls after a good step and grows after a bad one. A step minimizes the model
    in a Krylov space until the gradient of the model is at most `theta ||c||^2`, and at most
    `kappa` of that of the function. Among methods with Hessian-vector products its worst case needs
    the fewest iterations: `O(tol^-1.5)` to a gradient of norm `tol`.

    Args:
        sigma: the initial weight; by default one for which a step along the gradient is about an
            eighth of the root of the dimension long, at most.
        theta: the accuracy of a step, relative to the square of its length.
        kappa: the accuracy of a step, relative to the gradient.
        accept: the least ratio of actual to predicted decrease for which a step is accepted.
        inner: the largest number of Hessian-vector products of a step; each keeps a vector. By
            default the dimension, at most 200.

    Source: Agarwal, Boumal, Bullins & Cartis, Adaptive regularization with cubics on manifolds,
    Math. Program. 188, 2021, algorithm 1.
    """

    sigma: float | None = None
    theta: float = 0.5
    kappa: float = 0.1
    accept: float = 0.1
    inner: int | None = None

    order = 2

    def __post_init__(self) -> None:
        """Refuse values for which a step is undefined."""
        if not 0 < self.kappa < 1:
            raise ValueError(f"AdaptiveCubic: kappa must lie between 0 and 1, got {self.kappa!r}")
        if not 0 <= self.accept < 0.9:
            raise ValueError(f"AdaptiveCubic: accept must lie in [0, 0.9), got {self.accept!r}")
        for name in ("sigma", "theta", "inner"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"AdaptiveCubic: {name} must be positive, got {value!r}")

    def begin(self, objective: Objective, point: Point) -> Scalar:
        """The initial weight of the cubic term."""
        rows = objective.space.rows
        if self.sigma is not None:
            return rows.full(float(self.sigma))
        radius = math.sqrt(max(objective.space.dim, 1)) / 8
        bend = rows.divide(abs(rows.dot(point.c, objective.product(point, point.c))), point.norm**2)
        bend = rows.where(rows.finite(bend), bend, 0.0)
        return rows.most(point.norm / radius**2 + bend / radius, torch.finfo(rows.dtype).tiny)

    def step(
        self, objective: Objective, state: State, point: Point, active: Scalar, context: Context
    ) -> tuple[State, Point, Scalar, Scalar]:
        """One step, accepted or not."""
        rows, sigma = objective.space.rows, state.memory
        eps = torch.finfo(rows.dtype).eps
        norm = rows.tensor(point.norm)
        # A residual below the goal, or below rounding, would be wasted work.
        least = rows.tensor(rows.most(2 * eps * objective.measure(point), 0.1 * context.goal))

        def enough(length: torch.Tensor) -> torch.Tensor:
            wanted = torch.minimum(self.theta * length.square(), self.kappa * norm.to(length))
            return torch.maximum(wanted, least.to(length))

        step = cubic_lanczos(
            rows,
            lambda c: objective.product(point, c),
            point.c,
            point.norm,
            sigma,
            enough,
            min(self.inner or 200, max(objective.space.dim, 1)),
            active,
        )
        trial = tried(objective, point, step.c, step.decrease, self.accept, active)
        better = rows.where(trial.ratio >= 0.9, 0.1, 1.0)
        worse = rows.where(trial.ratio >= 0, 2.0, 10.0)  # NaN too
        factor = rows.where(trial.finite & (trial.ratio >= self.accept), better, worse)
        memory = rows.most(sigma * factor, torch.finfo(rows.dtype).tiny)
        return taken(
            objective, state, point, trial, active,
            memory=memory, length=step.length, curvature=step.curvature,
        )  # fmt: skip
