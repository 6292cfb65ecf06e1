"""Hyperbolic space as the Poincare ball."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    Exp,
    Hyperbolic,
    Manifold,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
    guarded,
    require_positive,
)
from torchmanifold.manifolds.linalg import asinhc, in_working_precision, tanhc

__all__ = ["PoincareBall"]


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)


def _gap(M: PoincareBall, x: Tensor) -> Tensor:
    """`1 - c ||x||^2`, positive within the ball."""
    return 1 - M.curvature * _dot(x, x)


@in_working_precision
def _inside(M: PoincareBall, y: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    # Near the boundary the computed gap may be zero or negative.
    longest = (1 - 4 * torch.finfo(dtype or y.dtype).eps) / math.sqrt(M.curvature)
    norm = torch.linalg.vector_norm(y.detach(), dim=-1, keepdim=True)
    return y * torch.where(norm > longest, longest / norm, 1.0)


def _inner(M: PoincareBall, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return (4 * _dot(u, v) / _gap(M, x).square())[..., 0]


def _gradient(M: PoincareBall, x: Tensor, egrad: Tensor) -> Tensor:
    return egrad * _gap(M, x).square() / 4


def _coordinates(M: PoincareBall, x: Tensor, v: Tensor) -> Tensor:
    return v * _gap(M, x) / 2


def _inverse_coordinates(M: PoincareBall, x: Tensor, u: Tensor) -> Tensor:
    return 2 * u / _gap(M, x)


def _hessian(M: PoincareBall, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    a = _gap(M, x)
    bend = _dot(x, v) * egrad + _dot(egrad, v) * x - _dot(x, egrad) * v
    return a / 4 * (a * ehess - 2 * M.curvature * bend)


def _exp(M: PoincareBall, x: Tensor, v: Tensor) -> Tensor:
    # Moebius addition, written as a change of x: small steps round as little as they are.
    c, a = M.curvature, _gap(M, x)
    z = tanhc(c * _dot(v, v) / a.square()) * v / a
    zz = _dot(z, z)
    # At the boundary the denominator may round to zero; it is at least the square of the gap.
    d = (1 + 2 * c * _dot(x, z) + c * c * _dot(x, x) * zz).clamp_min(torch.finfo(x.dtype).eps ** 2)
    return _inside(M, x + a * (z + c * zz * x) / d)


def _log(M: PoincareBall, x: Tensor, y: Tensor) -> Tensor:
    c, e, a = M.curvature, y - x, _gap(M, x)
    ee, gaps = _dot(e, e), a * _gap(M, y)
    f = asinhc(c * ee / gaps) / gaps.sqrt()
    return a * f / (gaps + c * ee).sqrt() * (a * e - c * ee * x)


def _dist(M: PoincareBall, x: Tensor, y: Tensor) -> Tensor:
    gaps = _gap(M, x) * _gap(M, y)
    chord = torch.linalg.vector_norm(y - x, dim=-1)
    ratio = M.curvature * _dot(y - x, y - x) / gaps
    return 2 * chord * (asinhc(ratio) / gaps.sqrt())[..., 0]


def _carry(M: PoincareBall, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    # Parallel along the geodesic: the gyration of y and -x, an isometry.
    c, u, v = M.curvature, y, -x
    uw, vw, uv, uu, vv = _dot(u, w), _dot(v, w), _dot(u, v), _dot(u, u), _dot(v, v)
    first = -c * c * uw * vv + c * vw + 2 * c * c * uv * vw
    second = -c * c * vw * uu - c * uw
    d = (1 + 2 * c * uv + c * c * uu * vv).clamp_min(torch.finfo(x.dtype).eps ** 2)
    turned = w + 2 * (first * u + second * v) / d
    # A rotation. At the boundary its digits are lost, but it must not make the vector longer.
    length = torch.linalg.vector_norm(w, dim=-1, keepdim=True)
    found = torch.linalg.vector_norm(turned, dim=-1, keepdim=True)
    turned = turned * torch.where(found > 2 * length, length / found, 1.0)
    return turned * (_gap(M, y) / _gap(M, x))


def _transport(M: PoincareBall, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return _carry(M, x, _exp(M, x, v), w)


def _radius(M: PoincareBall, shape: tuple[int, ...]) -> float:
    return math.inf


@dataclass(frozen=True)
class PoincareBall(Manifold):
    """Hyperbolic space of curvature `-c` as the ball `c ||x||^2 < 1`, `(*batch, n)`.

    The metric `4 u'v / (1 - c ||x||^2)^2` is conformal, so angles are the Euclidean ones.

    Points are kept within the radius `(1 - 4 eps) / sqrt(c)`. In float32 and with `c = 1` this is a
    distance of 15 from the centre. A distance of 0.01 has a relative error of 3e-5 at a distance of
    6 from the centre, and of 1e-2 at 10, because of the rounding of the coordinates. Use float64
    farther out.

    The residual is the relative distance to the ball.

    Args:
        curvature: `c`, positive.

    Source: Ungar, A gyrovector space approach to hyperbolic geometry, 2009; Ganea, Becigneul &
    Hofmann, Hyperbolic neural networks, NeurIPS 2018, section 2.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.PoincareBall()
        >>> M.dist(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 0.0]))
        tensor(1.0986)
    """

    curvature: float = 1.0
    metric: Metric = Hyperbolic()
    retraction: Retraction = Exp()

    event_ndim: ClassVar[int] = 1
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        Hyperbolic: MetricRule(
            inner=_inner,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            carry=_carry,
            hessian=_hessian,
            exp=_exp,
            log=_log,
            dist=_dist,
            parallel_transport=_transport,
            injectivity_radius=_radius,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(_exp, {Hyperbolic: 2}, _log)
    }

    def __post_init__(self) -> None:
        """Refuse a curvature that is not positive."""
        require_positive("PoincareBall", "curvature", self.curvature)
        super().__post_init__()

    def residual(self, x: Tensor) -> Tensor:
        """The excess of `sqrt(c) ||x||` over 1."""
        norm = torch.linalg.vector_norm(x.to(torch.float64), dim=-1)
        return (norm * math.sqrt(self.curvature) - 1).clamp_min(0)

    def project(self, z: Tensor) -> Tensor:
        """The nearest vector of norm at most `(1 - 4 eps) / sqrt(c)`."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return _inside(self, z, z.dtype)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z` itself: the ball is open."""
        return z

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The exponential of `z / sqrt(c n)` at the centre: distances of about 2."""
        size = max(z.shape[-1], 1) * self.curvature
        return _exp(self, torch.zeros_like(z), z / math.sqrt(size))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a number."""
        if len(shape) < 1:
            raise ValueError("PoincareBall: a point is a vector, got a number; use x.reshape(1)")

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n`."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1]
