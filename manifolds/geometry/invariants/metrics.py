"""Invariants of a metric, and of the exact methods that it has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from torchmanifold.manifolds.geometry.calculus import (
    combined,
    cubic,
    directional,
    euclidean_gradient,
    gap,
)
from torchmanifold.manifolds.geometry.invariants.registry import invariant, worst
from torchmanifold.manifolds.geometry.invariants.trial import Trial
from torchmanifold.manifolds.geometry.structure import leaves, mapped


@invariant("metric")
def _inner_is_an_inner_product(t: Trial) -> float:
    M, x = t.M, t.point(3)
    u, v = t.unit(x), t.unit(x)
    symmetric = gap(M.inner(x, u, v), M.inner(x, v, u))
    linear = gap(M.inner(x, combined(u, 2.0, v), v), M.inner(x, u, v) + 2 * M.inner(x, v, v))
    unit = gap(M.norm(x, u), torch.ones(3)) if M.dim(t.shape, t.dtype) else 0.0
    return worst(symmetric, linear, unit, gap(M.tangent(x, u), u)) / t.tolerance(1000)


@invariant("metric")
def _norm_has_a_derivative_at_zero(t: Trial) -> float:
    x = t.point()
    u = mapped(lambda part: torch.zeros_like(part).requires_grad_(), x)
    grads = torch.autograd.grad(t.M.norm(x, u), leaves(u))
    return 0.0 if all(bool((g == 0).all()) for g in grads) else math.inf


@invariant("metric")
def _gradient_represents_the_differential(t: Trial) -> float:
    M, x = t.M, t.point()
    f = cubic(t.normal(x))
    egrad = euclidean_gradient(f, x)
    gradient, u = M.gradient(x, egrad), t.unit(x)
    _, slope = directional(lambda v: f(M.retract(x, v)), mapped(torch.zeros_like, x), u)
    zero = mapped(lambda part: torch.zeros_like(part).requires_grad_(), x)
    flow = t.dot(M.coordinates(x, zero), egrad)
    parts = iter(torch.autograd.grad(flow, leaves(zero)))
    coordinates = mapped(lambda _: next(parts), zero)
    return worst(
        gap(M.tangent(x, gradient), gradient),
        gap(M.inner(x, gradient, u), slope),
        gap(M.coordinates(x, coordinates), gradient),  # B B* = g^-1
    ) / t.tolerance(3e3)


@invariant("metric")
def _coordinates_have_a_right_inverse(t: Trial) -> float:
    x = t.point(2)
    u = t.M.tangent(x, t.normal(x))
    return gap(t.M.coordinates(x, t.M.inverse_coordinates(x, u)), u) / t.tolerance(1e3)


@invariant("metric")
def _log_inverts_exp_and_dist_is_its_norm(t: Trial) -> float | None:
    M, x = t.M, t.point(2)
    if not (M.offers("exp") and M.offers("log")):
        return None
    u = t.short(x)
    y = M.exp(x, u)
    return worst(
        gap(M.log(x, y), u),
        gap(M.dist(x, y), M.norm(x, u)),
        gap(M.dist(y, x), M.dist(x, y)),
        M.dist(x, x).abs().amax() * t.eps**0.5,
    ) / t.tolerance(3e3)


@invariant("metric")
def _geodesics_have_constant_speed(t: Trial) -> float | None:
    """The derivative of `exp(x, s u)` at `s = 1/2` has the norm of `u`."""
    M, x = t.M, t.point()
    if not M.offers("exp"):
        return None
    u = t.scaled(0.5, t.unit(x))
    y, velocity = directional(lambda v: M.exp(x, v), t.scaled(0.5, u), u)
    return gap(M.norm(y, M.tangent(y, velocity)), M.norm(x, u)) / t.tolerance(3e3)


@invariant("metric")
def _hessian_is_the_second_derivative(t: Trial) -> float | None:
    M, x = t.M, t.point()
    if not M.offers("hessian"):
        return None
    f = cubic(t.normal(x))
    u, w = t.unit(x), t.unit(x)
    egrad = euclidean_gradient(f, x)

    def along(v: Any) -> Any:
        ehess = directional(lambda y: euclidean_gradient(f, y), x, v)[1]
        return M.hessian(x, egrad, mapped(torch.Tensor.detach, ehess), v)

    hess = along(u)
    errors = [
        gap(M.tangent(x, hess), hess),
        gap(M.inner(x, hess, w), M.inner(x, u, along(w))),  # self-adjoint
    ]
    curve = _second_order_curve(t)
    if curve is not None:
        zero = torch.zeros((), dtype=leaves(u)[0].real.dtype, requires_grad=True)
        value = f(curve(x, mapped(lambda part: zero * part, u)))
        (first,) = torch.autograd.grad(value, zero, create_graph=True)
        (second,) = torch.autograd.grad(first, zero)
        errors.append(gap(M.inner(x, hess, u), second))
    return worst(*errors) / t.tolerance(1e3)


@invariant("metric")
def _carrying_is_tangent_and_linear(t: Trial) -> float:
    M, x, y = t.M, t.point(2), t.point(2)
    a, b = t.unit(x), t.unit(x)
    moved = M.carry(x, y, combined(a, 2.0, b))
    return worst(
        gap(moved, combined(M.carry(x, y, a), 2.0, M.carry(x, y, b))),
        gap(M.tangent(y, moved), moved),
        gap(M.carry(x, x, a), a),
    ) / t.tolerance(1e3)


@invariant("metric")
def _parallel_transport_is_an_isometry(t: Trial) -> float | None:
    """It keeps inner products, and takes a geodesic's velocity to its velocity at the end."""
    M, x = t.M, t.point()
    if not M.offers("parallel_transport"):
        return None
    v, a, b = t.scaled(0.4, t.unit(x)), t.unit(x), t.unit(x)
    y, velocity = directional(lambda u: M.exp(x, u), v, v)
    moved = M.parallel_transport(x, v, a)
    return worst(
        gap(M.tangent(y, moved), moved),
        gap(M.inner(y, moved, M.parallel_transport(x, v, b)), M.inner(x, a, b)),
        gap(M.parallel_transport(x, v, v), velocity),
    ) / t.tolerance(3e3)


@invariant("metric")
def _geodesics_are_shortest_within_the_injectivity_radius(t: Trial) -> float | None:
    M, x = t.M, t.point()
    if not (M.offers("injectivity_radius") and M.offers("exp") and M.offers("log")):
        return None
    radius = M.injectivity_radius(t.shape)
    u = t.scaled(0.9 * radius if radius < math.inf else 2.0, t.unit(x))
    return gap(M.log(x, M.exp(x, u)), u) / t.tolerance(1e3)


def _second_order_curve(t: Trial) -> Callable[[Any, Any], Any] | None:
    if t.M.offers("exp"):
        return t.M.exp
    if t.M.retraction_rule.order[type(t.M.metric)] >= 2:
        return t.M.retract
    return None
