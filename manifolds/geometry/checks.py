"""Numerical checks of gradients, Hessians and retractions, which return a verdict.

Each check compares a function along a curve with its Taylor polynomial. If the derivative is right,
the error falls like a known power of the step: a straight line of known slope in a log-log plot.

Source: Boumal, An Introduction to Optimization on Smooth Manifolds, Cambridge 2023, sections 4.8
and 6.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.calculus import directional, euclidean_gradient, size
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.structure import Point, leaves, mapped

__all__ = ["SlopeCheck", "check_gradient", "check_hessian", "check_retraction"]


_STEPS = torch.logspace(-6, 0, 49, dtype=torch.float64)


_WINDOW = 9  # points in a window, which spans more than one decade


_TOLERANCE = 0.1


@dataclass(frozen=True)
class SlopeCheck:
    """The verdict of a check; true if it passed.

    Args:
        what: a description of the check.
        steps: step sizes `t`.
        errors: the error of the Taylor polynomial at each step.
        expected: the least slope that passes, up to 0.1.
        slope: the slope over the steps where it is steadiest; infinite if all errors are of
            rounding size.
    """

    what: str
    steps: tuple[float, ...]
    errors: tuple[float, ...]
    expected: float
    slope: float

    def __bool__(self) -> bool:
        """Whether the slope is at least the expected one."""
        return self.slope >= self.expected - _TOLERANCE

    def __str__(self) -> str:
        """One line."""
        verdict = "passed" if self else "FAILED"
        return f"{self.what}: {verdict}, slope {self.slope:.2f}, expected {self.expected:g}"

    def draw(self, axes: Any) -> None:
        """Draw the errors against the steps, with a line of the expected slope, on log axes."""
        axes.loglog(self.steps, self.errors, "o-", ms=3, label=f"error, slope {self.slope:.2f}")
        top = max(self.errors)
        line = [top * (t / self.steps[-1]) ** self.expected for t in self.steps]
        axes.loglog(self.steps, line, "k--", lw=1, label=f"slope {self.expected:g}")
        axes.set(xlabel="step $t$", ylabel="error", title=self.what)
        axes.legend()


def _verdict(
    what: str, error: Callable[[Tensor], Tensor], expected: float, size: float
) -> SlopeCheck:
    errors = torch.stack([error(t).detach() for t in _STEPS])
    noise = 100 * torch.finfo(torch.float64).eps * size
    # For small t rounding makes the error flat, and above t = 1 it is arbitrary. The slope is that
    # of the straightest stretch between.
    slope, spread = math.inf, math.inf
    logs, log_steps = errors.log10(), _STEPS.log10()
    for start in range(len(_STEPS) - _WINDOW + 1):
        window = slice(start, start + _WINDOW)
        if errors[window].min() > noise:
            local = logs[window].diff() / log_steps[window].diff()
            if float(local.std()) < spread:
                slope, spread = float(local.mean()), float(local.std())
    return SlopeCheck(what, tuple(_STEPS.tolist()), tuple(errors.tolist()), expected, slope)


def _setting(
    manifold: Manifold, x: Point, generator: torch.Generator | None
) -> tuple[Point, Point]:
    dims = mapped(lambda part, ndim: part.ndim == ndim, x, manifold.event_ndim)
    if not all(leaves(dims)):
        raise ValueError(
            f"x: expected one point of {manifold!r}, without batch dimensions, got "
            f"{', '.join(str(tuple(part.shape)) for part in leaves(x))}"
        )
    x = mapped(lambda part: part.detach().to(torch.promote_types(part.dtype, torch.float64)), x)
    residual, allowed = float(manifold.residual(x)), 1e-5
    if not residual <= allowed:
        raise ValueError(f"x: not a point of {manifold!r}, its residual is {residual:.3g}")
    x = manifold.project(x)
    return x, manifold.random_tangent(x, generator=generator)


def _times(t: Tensor, u: Point) -> Point:
    return mapped(lambda part: t * part, u)


def check_retraction(
    manifold: Manifold, x: Point, *, generator: torch.Generator | None = None
) -> SlopeCheck:
    """Check the order of a manifold's retraction against its exponential.

    `||R_x(t u) - exp_x(t u)||` falls like `t^(order + 1)`. If there is no closed-form exponential,
    `||R_x(t u) - x - t u||` must fall like `t^2`.

    Args:
        manifold: the manifold, with the metric and retraction to be checked.
        x: a point; it is converted to float64.
        generator: for the random direction `u`.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley())
        >>> bool(tm.check_retraction(M, M.random(6, 3)))
        True
    """
    x, u = _setting(manifold, x, generator)
    exact = manifold.offers("exp")
    order = manifold.retraction_rule.order[type(manifold.metric)] if exact else 1

    def error(t: Tensor) -> Tensor:
        v = _times(t, u)
        reference = manifold.exp(x, v) if exact else mapped(torch.add, x, v)
        return torch.tensor(size(mapped(torch.sub, manifold.retract(x, v), reference)))

    name = f"{type(manifold.retraction).__name__} on {type(manifold).__name__}"
    return _verdict(name, error, order + 1, size(x))


def check_gradient(
    fun: Callable[[Point], Tensor],
    manifold: Manifold,
    x: Point,
    *,
    gradient: Point | None = None,
    generator: torch.Generator | None = None,
) -> SlopeCheck:
    """Check a Riemannian gradient: `f(R(t u)) - f(x) - t <grad, u>` falls like `t^2`.

    Args:
        fun: from a point to a number.
        manifold: the manifold.
        x: a point, for a product a tuple or dict; it is converted to float64.
        gradient: a Riemannian gradient at `x`; by default the manifold's, from autograd.
        generator: for the random direction `u`.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Sphere()
        >>> bool(tm.check_gradient(lambda x: x[0] ** 3, M, M.random(5)))
        True
    """
    x, u = _setting(manifold, x, generator)
    if gradient is None:
        gradient = manifold.gradient(x, euclidean_gradient(fun, x))
    gradient = mapped(lambda part, like: part.to(like), gradient, x)
    value, slope = fun(x), manifold.inner(x, gradient, u)

    def error(t: Tensor) -> Tensor:
        return (fun(manifold.retract(x, _times(t, u))) - value - t * slope).abs()

    return _verdict("gradient", error, 2, 1 + abs(float(value)))


def check_hessian(
    fun: Callable[[Point], Tensor],
    manifold: Manifold,
    x: Point,
    *,
    hessian: Callable[[Point], Point] | None = None,
    generator: torch.Generator | None = None,
) -> SlopeCheck:
    """Check a Riemannian Hessian: the error of the second Taylor polynomial falls like `t^3`.

    Args:
        fun: from a point to a number.
        manifold: a manifold with a retraction of second order.
        x: a point, for a product a tuple or dict; it is converted to float64.
        hessian: `hessian(u)`, a Riemannian Hessian at `x` along the tangent vector `u`; by default
            the manifold's, from autograd. A Euclidean one, `hessp(x, u)`, becomes Riemannian by
            `manifold.hessian(x, jac(x), hessp(x, u), u)`.
        generator: for the random direction `u`.

    Raises:
        ValueError: for a retraction of first order, with which the check would be meaningless.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Sphere()
        >>> bool(tm.check_hessian(lambda x: x[0] ** 3, M, M.random(5)))
        True
    """
    if manifold.retraction_rule.order[type(manifold.metric)] < 2:
        raise ValueError(
            f"check_hessian: {manifold.retraction!r} is of first order on {manifold!r}; "
            f"choose a retraction of second order"
        )
    x, u = _setting(manifold, x, generator)
    egrad, ehess = directional(lambda y: euclidean_gradient(fun, y), x, u)
    value, slope = fun(x), manifold.inner(x, manifold.gradient(x, egrad), u)
    along = manifold.hessian(x, egrad, ehess, u) if hessian is None else hessian(u)
    curvature = manifold.inner(x, mapped(lambda part, like: part.to(like), along, x), u)

    def error(t: Tensor) -> Tensor:
        ahead = fun(manifold.retract(x, _times(t, u)))
        return (ahead - value - t * slope - t * t * curvature / 2).abs()

    return _verdict("Hessian", error, 3, 1 + abs(float(value)))
