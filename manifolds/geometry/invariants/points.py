"""Invariants of points and tangent spaces, for any metric and retraction."""

from __future__ import annotations

import math
from typing import Any

import torch

from torchmanifold.manifolds.geometry.calculus import (
    gap,
    size,
)
from torchmanifold.manifolds.geometry.invariants.registry import invariant, worst
from torchmanifold.manifolds.geometry.invariants.trial import Trial
from torchmanifold.manifolds.geometry.structure import leaves, mapped


@invariant("manifold")
def _random_points_and_projections_lie_on_it(t: Trial) -> float:
    x = t.point(2, 3)
    z = t.M.project(t.normal(x))
    allowed = t.M.tolerance(t.shape, t.dtype)
    shaped = all(
        a.shape == b.shape and a.dtype == t.dtype for a, b in zip(leaves(x), leaves(z), strict=True)
    )
    residuals = [t.M.residual(p) for p in (x, z)]
    if not shaped or any(r.shape != (2, 3) for r in residuals):
        return math.inf
    return worst(*(r.amax() / allowed for r in residuals))


@invariant("manifold")
def _projection_leaves_points_alone(t: Trial) -> float:
    x = t.point(2)
    return gap(t.M.project(x), x) / t.tolerance()


@invariant("manifold")
def _tangent_is_an_orthogonal_projection(t: Trial) -> float:
    x = t.point(2)
    z, w = t.normal(x), t.normal(x)
    u = t.M.tangent(x, z)
    twice = gap(t.M.tangent(x, u), u)
    adjoint = t.dot(u, w) - t.dot(z, t.M.tangent(x, w))
    return worst(twice, adjoint.abs() / (1 + size(z) * size(w))) / t.tolerance()


@invariant("manifold")
def _tangent_space_has_the_stated_dimension(t: Trial) -> float:
    x = t.point()
    like, columns = leaves(x), []
    for i, part in enumerate(like):
        units: tuple[Any, ...] = (1.0, 1j) if part.is_complex() else (1.0,)
        for unit in units:
            for k in range(part.numel()):
                basis = [torch.zeros_like(p) for p in like]
                basis[i].view(-1)[k] = unit
                parts = iter(basis)
                image = leaves(t.M.tangent(x, mapped(lambda _, parts=parts: next(parts), x)))
                reals = (torch.view_as_real(p) if p.is_complex() else p for p in image)
                columns.append(torch.cat([p.flatten() for p in reals]))
    rank = int(torch.linalg.matrix_rank(torch.stack(columns).double(), atol=t.eps**0.5))
    return 0.0 if rank == t.M.dim(t.shape, t.dtype) else math.inf


@invariant("retraction")
def _batches_broadcast(t: Trial) -> float:
    """One base point with many vectors gives the same values as each pair alone."""
    x, many = t.point(), t.point(3)
    v = t.scaled(0.1 * t.reach, t.M.tangent(x, t.normal(many)))
    z = t.normal(many)

    def pick(batch: Any, i: int) -> Any:
        return mapped(lambda part: part[i], batch)

    errors = []
    calls: dict[str, tuple[Any, ...]] = {
        "tangent": (x, z),
        "gradient": (x, z),
        "coordinates": (x, z),
        "inner": (x, v, v),
        "retract": (x, v),
        "transport": (x, v, v),
        "norm": (x, v),
    }
    near = t.M.retract(x, v)  # not every pair of points is connected
    calls |= {name: (x, near) for name in ("log", "dist") if t.M.offers(name)}
    for name, arguments in calls.items():
        whole = getattr(t.M, name)(*arguments)
        for i in range(3):
            single = getattr(t.M, name)(x, *(pick(a, i) for a in arguments[1:]))
            errors.append(gap(pick(whole, i), single))
    return worst(*errors) / t.tolerance(1000)
