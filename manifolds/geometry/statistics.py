"""Methods of every manifold with a logarithm: means, geodesics, pairwise distances."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.structure import Point, leaves, mapped, scaled

__all__ = ["Mean", "Statistics"]

ROUNDINGS = 20


@dataclass(frozen=True)
class Mean:
    """A Karcher mean, with a verdict.

    Args:
        point: the last point of the iteration, `(*batch, *event)`.
        gradient_norm: the norm of the weighted sum of logarithms at this point, `(*batch,)`.
        converged: whether this norm is at rounding level, `(*batch,)`.
        iterations: the number of iterations.
    """

    point: Any
    gradient_norm: Tensor
    converged: Tensor
    iterations: int


class Statistics:
    """Methods of manifolds whose metric has an exact exponential and logarithm."""

    def mean(self, points: Point, weights: Tensor | None = None, *, iterations: int = 200) -> Mean:
        r"""The Karcher mean: a point at which `sum_i w_i log_x(p_i) = 0`.

        If the points lie in a ball of less than half the convexity radius, it is the only minimizer
        of `sum_i w_i dist(x, p_i)^2`. On complete, simply connected manifolds without positive
        curvature, such as hyperbolic space, it always is. Otherwise it may be one of several. The
        method is gradient descent from the projection of the mean of the coordinates, with a step
        of 1 that is halved whenever the gradient grows.

        Args:
            points: `(m, *batch, *event)`.
            weights: `(m,)` or `(m, *batch)`, not negative; equal by default.
            iterations: the largest number of iterations; each reads whether it is the last.

        Returns:
            A `Mean`: the point and a verdict.

        Raises:
            NotImplementedError: if the metric has no exact logarithm.
            ValueError: for a single point, and for weights that are negative, or all zero.

        Example:
            >>> import torch, torchmanifold as tm
            >>> found = tm.Positive().mean(torch.tensor([[1.0], [4.0]]))
            >>> found.point, bool(found.converged)
            (tensor([2.]), True)

        Source: Karcher, Riemannian center of mass and mollifier smoothing, Comm. Pure Appl. Math.
        30 (1977); Afsari, Tron & Vidal, On the convergence of gradient descent for finding the
        Riemannian center of mass, SIAM J. Control Optim. 51 (2013).
        """
        M: Any = self
        w = _weights(M, points, weights)
        start = mapped(lambda part: part.sum(0), scaled(w, points, M.event_ndim))
        x = M.project(start)
        step = torch.ones_like(w[0])
        eps = torch.finfo(step.dtype).eps
        last = torch.full_like(step, torch.inf)
        for iteration in range(iterations + 1):
            logs = M.log(x, points)
            gradient = mapped(lambda part: part.sum(0), scaled(w, logs, M.event_ndim))
            norm = M.norm(x, gradient)
            spread = (w * M.norm(x, logs)).sum(0)
            done = norm <= ROUNDINGS * eps * (1 + spread)
            if iteration == iterations or bool((done | norm.isnan()).all()):
                break
            step = torch.where(norm > last, step / 2, step)
            last = norm
            move = scaled(torch.where(done, 0, step), gradient, M.event_ndim)
            x = M.exp(x, move)
        return Mean(x, norm, done, iteration)

    def geodesic(self, x: Point, y: Point, t: Tensor | float) -> Point:
        """The point at time `t` on the shortest geodesic from `x`, at 0, to `y`, at 1.

        Args:
            x: `(*batch, *event)`.
            y: `(*batch, *event)`.
            t: a number, or `(*batch,)`.

        Raises:
            NotImplementedError: if the metric has no exact exponential and logarithm.

        Example:
            >>> import torch, torchmanifold as tm
            >>> tm.Positive().geodesic(torch.tensor([1.0]), torch.tensor([9.0]), 0.5)
            tensor([3.])
        """
        M: Any = self
        if not isinstance(t, Tensor | Real):
            raise TypeError(f"geodesic: t must be a number or a tensor of numbers, got {t!r}")
        v = M.log(x, y)
        first = leaves(v)[0]
        times = torch.as_tensor(t, dtype=M.norm(x, v).dtype, device=first.device)
        return M.exp(x, scaled(times, v, M.event_ndim))

    def pairwise_dist(self, x: Point, y: Point | None = None) -> Tensor:
        """The distance between each point of `x` and each point of `y`.

        Args:
            x: `(*batch, n, *event)`.
            y: `(*batch, m, *event)`; `x` by default.

        Returns:
            `(*batch, n, m)`.

        Raises:
            NotImplementedError: if the metric has no exact distance.

        Example:
            >>> import torch, torchmanifold as tm
            >>> tm.Euclidean(ndim=1).pairwise_dist(torch.tensor([[0.0], [3.0]]))
            tensor([[0., 3.],
                    [3., 0.]])
        """
        M: Any = self
        other = x if y is None else y
        rows, columns = _spread(x, M.event_ndim, 1), _spread(other, M.event_ndim, 2)
        distances: Tensor = M.dist(rows, columns)
        return distances


def _weights(M: Any, points: Point, weights: Tensor | None) -> Tensor:
    """Weights `(m, *batch)` that add to one."""
    like = M.norm(points, mapped(torch.zeros_like, points))
    if like.ndim == 0:
        raise ValueError("mean: points is a single point; stack several along a first dimension")
    if weights is None:
        return torch.full_like(like, 1 / like.shape[0])
    weights = weights.to(like)
    if bool((weights < 0).any()) or not bool((weights.sum(0) > 0).all()):
        raise ValueError("mean: weights must not be negative, and their sum must be positive")
    weights = weights.reshape(*weights.shape, *(1,) * (like.ndim - weights.ndim)).expand_as(like)
    return weights / weights.sum(0)


def _spread(x: Any, event_ndim: Any, place: int) -> Any:
    """A new dimension of size 1, after the last batch dimension or before it."""
    if isinstance(x, dict):
        return {name: _spread(part, event_ndim[name], place) for name, part in x.items()}
    if isinstance(x, tuple | list):
        return tuple(_spread(part, n, place) for part, n in zip(x, event_ndim, strict=True))
    return x.unsqueeze(x.ndim - event_ndim - (place - 1))
