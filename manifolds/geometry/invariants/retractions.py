"""Invariants of a retraction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.calculus import (
    directional,
    gap,
    size,
)
from torchmanifold.manifolds.geometry.invariants.registry import invariant, worst
from torchmanifold.manifolds.geometry.invariants.trial import Trial
from torchmanifold.manifolds.geometry.structure import leaves, mapped


@invariant("retraction")
def _retraction_starts_with_the_given_velocity(t: Trial) -> float:
    M, x = t.M, t.point()
    zero, u = mapped(torch.zeros_like, x), t.unit(x)
    y, velocity = directional(lambda v: M.retract(x, v), zero, u)
    return worst(gap(y, x), gap(velocity, u)) / t.tolerance(1e3)


@invariant("retraction")
def _retractions_stay_on_it(t: Trial) -> float:
    x = t.point(2, 3)
    y = t.M.retract(x, t.scaled(t.reach, t.unit(x)))
    return worst(t.M.residual(y).amax() / t.M.tolerance(t.shape, t.dtype))


@invariant("retraction")
def _retraction_has_the_stated_order(t: Trial) -> float | None:
    """`||R(s u) - exp(s u)|| = O(s^(order + 1))`: the slope of the error in a log-log plot."""
    M, x = t.M, t.point()
    order = M.retraction_rule.order[type(M.metric)]
    if not M.offers("exp"):
        if not M.offers("weingarten"):
            return None
        # Along a retraction of second order on a submanifold, the initial acceleration is normal.
        h, u = t.eps**0.25, t.unit(x)
        sides = (M.retract(x, t.scaled(s * h, u)) for s in (1, -1))
        bend = mapped(lambda a, b, c: (a + b - 2 * c) / h**2, *sides, x)
        second = size(M.tangent(x, bend)) < 100 * t.eps**0.5
        return 0.0 if order <= (2 if second else 1) else math.inf
    u, steps = t.unit(x), (10**-1.5, 10**-2.5)
    ends = [
        size(mapped(torch.sub, M.retract(x, t.scaled(s, u)), M.exp(x, t.scaled(s, u))))
        for s in steps
    ]
    if ends[0] < t.tolerance(1e3):  # the retraction is the geodesic, or agrees beyond any order
        return 0.0
    slope = math.log(ends[0] / max(ends[1], 1e-300)) / math.log(steps[0] / steps[1])
    return 0.0 if slope > order + 0.9 else math.inf


@invariant("retraction")
def _trivializing_is_retracting_coordinates(t: Trial) -> float:
    x = t.point(2)
    v = t.scaled(0.3 * t.reach, t.normal(x))
    return gap(t.M.trivialize(x, v), t.M.retract(x, t.M.coordinates(x, v))) / t.tolerance(1e3)


@invariant("retraction")
def _inverse_retraction_inverts(t: Trial) -> float | None:
    if not t.M.offers("inverse_retract"):
        return None
    x = t.point(2)
    u = t.short(x)
    return gap(t.M.inverse_retract(x, t.M.retract(x, u)), u) / t.tolerance(3e3)


@invariant("retraction")
def _retraction_has_two_derivatives(t: Trial) -> float | None:
    """Compare with finite differences at the base, at a generic vector and at one of rank one."""
    if t.eps > 1e-10:
        return None
    x = t.point()
    generic = t.scaled(t.reach, t.normal(x))
    thin = mapped(lambda part: part.index_fill(-1, torch.arange(1, part.shape[-1]), 0), generic)
    for at in (mapped(torch.zeros_like, x), generic, thin):
        free = [part.clone().requires_grad_() for part in leaves(at)]

        def moved(*parts: Tensor) -> tuple[Tensor, ...]:
            given = iter(parts)
            return tuple(leaves(t.M.trivialize(x, mapped(lambda _: next(given), x))))

        if not torch.autograd.gradcheck(moved, free, raise_exception=False):
            return math.inf
        if not torch.autograd.gradgradcheck(moved, free, atol=1e-4, raise_exception=False):
            return math.inf
    return 0.0
