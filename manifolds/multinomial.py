"""The open simplex: probabilities, in the Fisher metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    Exp,
    Fisher,
    Manifold,
    Metric,
    MetricRule,
    Projection,
    Retraction,
    RetractionRule,
    Softmax,
    circle_angle,
    circle_exp,
    circle_log,
    circle_transport,
    guarded,
    keep_coordinates,
)
from torchmanifold.manifolds.linalg import in_working_precision

__all__ = ["Multinomial"]

LAST = (-1,)


def _inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return (u * v / x).sum(-1)


def _tangent(x: Tensor, z: Tensor) -> Tensor:
    """The orthogonal projection in the Fisher metric."""
    return z - x * z.sum(-1, keepdim=True)


def _gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    return _tangent(x, x * egrad)


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return _tangent(x, x.sqrt() * v)


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return u / x.sqrt()


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    mean = (x * egrad).sum(-1, keepdim=True)
    return _tangent(x, x * ehess + v * (egrad - mean) / 2)


# With y = sqrt x the simplex becomes a part of a sphere, and a tangent vector u becomes u / (2 y).
def _inside(y: Tensor) -> Tensor:
    """The squares of unit vectors, with every entry above zero."""
    x = y.square().clamp_min(torch.finfo(y.dtype).tiny ** 0.5)
    return x / x.sum(-1, keepdim=True)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    y = x.sqrt()
    return _inside(circle_exp(y, v / (2 * y), LAST))


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    root = x.sqrt()
    return 2 * root * circle_log(root, y.sqrt(), LAST)


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return 2 * circle_angle(x.sqrt(), y.sqrt(), LAST)


def _transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    y = x.sqrt()
    moved = circle_transport(y, v / (2 * y), w / (2 * y), LAST)
    return 2 * circle_exp(y, v / (2 * y), LAST) * moved


def _projection(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    y = x.sqrt()
    z = y + v / (2 * y)
    return _inside(z / torch.linalg.vector_norm(z, dim=-1, keepdim=True))


def _inverse_projection(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    root, other = x.sqrt(), y.sqrt()
    # The difference of the roots, without their cancellation where the points are near.
    d = (y - x) / (other + root)
    along = (root * d).sum(-1, keepdim=True)
    return _tangent(x, 2 * root * (d - along * root) / (1 + along))


def _softmax(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    a = v / x
    # A longer step is shortened, so no ratio of entries changes by more than a factor of 1 / eps.
    longest = -math.log(torch.finfo(x.dtype).eps) / 2
    a = a * (longest / a.abs().amax(-1, keepdim=True).clamp_min(longest))
    y = torch.softmax(x.log() + a, -1).clamp_min(torch.finfo(x.dtype).tiny ** 0.5)
    return y / y.sum(-1, keepdim=True)


def _inverse_softmax(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return _tangent(x, x * (y / x).log())


def _to_simplex(z: Tensor) -> Tensor:
    """The Euclidean projection to the closed simplex (Held, Wolfe & Crowder 1974)."""
    ordered = z.sort(-1, descending=True).values
    count = torch.arange(1, z.shape[-1] + 1, device=z.device, dtype=z.dtype)
    shift = (ordered.cumsum(-1) - 1) / count
    support = (ordered > shift).sum(-1, keepdim=True)
    return (z - shift.gather(-1, (support - 1).clamp_min(0))).clamp_min(0)


@dataclass(frozen=True)
class Multinomial(Manifold):
    r"""Positive numbers that add to one, `(*batch, n)`; rows of a stochastic matrix are a batch.

    The metric is Fisher's, `sum u v / x`: the map `x -> 2 sqrt(x)` is an isometry onto a part of a
    sphere of radius 2. `Projection`, the default, moves the roots as the sphere's projection does.
    `Softmax` is `softmax(log x + v / x)`, of first order; it changes no ratio of entries by more
    than a factor of `1 / eps`. `Exp` is the geodesic, which is reflected at the boundary.

    The residual is `|sum x - 1|` plus the share of entries that are not positive. `project` is the
    nearest point of the closed simplex, with entries of at least `eps`.

    Source: Sun, Gao, Hong, Mishra & Yin, Heterogeneous tensor decomposition for clustering via
    manifold optimization, IEEE PAMI 38 (2016), section 3; Amari & Nagaoka, Methods of Information
    Geometry (2000), section 2.5.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Multinomial()
        >>> x = M.project(torch.tensor([0.2, 0.3, 0.8]))
        >>> x.sum()
        tensor(1.)
    """

    metric: Metric = Fisher()
    retraction: Retraction = Projection()

    event_ndim: ClassVar[int] = 1
    complete: ClassVar[bool] = False
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        Fisher: MetricRule(
            inner=_inner,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            carry=keep_coordinates,
            hessian=_hessian,
            exp=_exp,
            log=_log,
            dist=_dist,
            parallel_transport=_transport,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Projection: RetractionRule(_projection, {Fisher: 2}, _inverse_projection),
        Softmax: RetractionRule(_softmax, {Fisher: 1}, _inverse_softmax),
        Exp: RetractionRule(_exp, {Fisher: 2}, _log),
    }

    def residual(self, x: Tensor) -> Tensor:
        """`|sum x - 1|` plus the share of entries that are not positive."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        return (wide.sum(-1) - 1).abs() + (wide <= 0).to(wide.dtype).mean(-1)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The nearest point of the closed simplex, with entries of at least `eps`."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        x = _to_simplex(z).clamp_min(torch.finfo(z.dtype).eps)
        return x / x.sum(-1, keepdim=True)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z` minus its mean."""
        return z - z.mean(-1, keepdim=True)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform in the Fisher metric: the squares of a uniform unit vector."""
        return _inside(z / torch.linalg.vector_norm(z, dim=-1, keepdim=True))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a number."""
        if len(shape) < 1 or shape[-1] < 1:
            raise ValueError(f"Multinomial: a point is a vector, got the shape {tuple(shape)}")

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n - 1`."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1] - 1
