"""Space of constant curvature `k` in stereographic coordinates: the parts that its models share.

For negative `k` it is the Poincare ball, for `k = 0` Euclidean space in the metric `4 u'v`, and for
positive `k` the sphere of radius `1 / sqrt(k)` without one point.

Source: Ungar, A gyrovector space approach to hyperbolic geometry, 2009; Bachmann, Becigneul &
Ganea, Constant curvature graph convolutional networks, ICML 2020.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.guard import guarded
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import MetricRule
from torchmanifold.manifolds.linalg import (
    arctanc,
    asinhc,
    cos_sinc,
    in_working_precision,
    tanhc,
)

__all__ = ["GYROVECTORS", "StereographicModel", "gyro_exp", "gyro_inside", "gyro_log"]


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)


def _gap(M: Any, x: Tensor) -> Tensor:
    """`1 + k ||x||^2`, positive at every point."""
    return 1 + M.kappa * _dot(x, x)


@in_working_precision
def gyro_inside(M: Any, y: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The nearest point to `y` that is far enough from the boundary, if there is one."""
    if M.kappa >= 0:
        return y
    # Near the boundary the computed gap may be zero or negative.
    longest = (1 - 4 * torch.finfo(dtype or y.dtype).eps) / math.sqrt(-M.kappa)
    norm = torch.linalg.vector_norm(y.detach(), dim=-1, keepdim=True)
    return y * torch.where(norm > longest, longest / norm, 1.0)


def _inner(M: Any, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return (4 * _dot(u, v) / _gap(M, x).square())[..., 0]


def _gradient(M: Any, x: Tensor, egrad: Tensor) -> Tensor:
    return egrad * _gap(M, x).square() / 4


def _coordinates(M: Any, x: Tensor, v: Tensor) -> Tensor:
    return v * _gap(M, x) / 2


def _inverse_coordinates(M: Any, x: Tensor, u: Tensor) -> Tensor:
    return 2 * u / _gap(M, x)


def _hessian(M: Any, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    a = _gap(M, x)
    bend = _dot(x, v) * egrad + _dot(egrad, v) * x - _dot(x, egrad) * v
    return a / 4 * (a * ehess + 2 * M.kappa * bend)


def _tangent_ratio(k: float, t: Tensor) -> Tensor:
    """`tan_k(r) / r` of `r = sqrt(t)`: the tangent of `sqrt(k) r`, hyperbolic for negative `k`."""
    if k <= 0:
        return tanhc(-k * t)
    cosine, sinc = cos_sinc(k * t)
    return sinc / cosine


def _arc_ratio(k: float, ee: Tensor, gaps: Tensor) -> Tensor:
    """The distance of two points over twice their chord, which has no limit to take at zero."""
    if k == 0:
        return torch.ones_like(ee)
    if k < 0:
        return asinhc(-k * ee / gaps) / gaps.sqrt()
    rest = (gaps - k * ee).clamp_min(0)  # zero at the antipode
    small = k * ee < 0.01 * rest
    t = torch.where(small, k * ee / torch.where(small, rest, 1.0), 0.0)
    near = arctanc(t) / torch.where(small, rest, 1.0).sqrt()
    chord = torch.where(small, 1.0, k * ee).sqrt()
    far = torch.atan2(chord, torch.where(small, 1.0, rest).sqrt()) / chord
    return torch.where(small, near, far)


def gyro_exp(M: Any, x: Tensor, v: Tensor) -> Tensor:
    """The geodesic that leaves `x` with velocity `v`, at time 1."""
    if M.kappa == 0:  # also where squares overflow
        return x + v
    # Moebius addition, written as a change of x: small steps round as little as they are.
    c, a = -M.kappa, _gap(M, x)
    z = _tangent_ratio(M.kappa, _dot(v, v) / a.square()) * v / a
    zz = _dot(z, z)
    # At the boundary the denominator may round to zero; it is at least the square of the gap.
    d = (1 + 2 * c * _dot(x, z) + c * c * _dot(x, x) * zz).clamp_min(torch.finfo(x.dtype).eps ** 2)
    return gyro_inside(M, x + a * (z + c * zz * x) / d)


def gyro_log(M: Any, x: Tensor, y: Tensor) -> Tensor:
    """The velocity at `x` of the shortest geodesic to `y`."""
    k, e, a = M.kappa, y - x, _gap(M, x)
    ee, gaps = _dot(e, e), a * _gap(M, y)
    f = _arc_ratio(k, ee, gaps)
    return a * f / (gaps - k * ee).sqrt() * (a * e + k * ee * x)


def _dist(M: Any, x: Tensor, y: Tensor) -> Tensor:
    gaps = _gap(M, x) * _gap(M, y)
    chord = torch.linalg.vector_norm(y - x, dim=-1)
    return 2 * chord * _arc_ratio(M.kappa, _dot(y - x, y - x), gaps)[..., 0]


def _carry(M: Any, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    # Parallel along the geodesic: the gyration of y and -x, an isometry.
    c, u, v = -M.kappa, y, -x
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


def _transport(M: Any, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return _carry(M, x, gyro_exp(M, x, v), w)


def _radius(M: Any, shape: tuple[int, ...]) -> float:
    return math.pi / math.sqrt(M.kappa) if M.kappa > 0 else math.inf


GYROVECTORS = MetricRule(
    inner=_inner,
    gradient=_gradient,
    coordinates=_coordinates,
    inverse_coordinates=_inverse_coordinates,
    carry=_carry,
    hessian=_hessian,
    exp=gyro_exp,
    log=gyro_log,
    dist=_dist,
    parallel_transport=_transport,
    injectivity_radius=_radius,
)


@dataclass(frozen=True)
class StereographicModel(Manifold):
    """A space of constant curvature `kappa` whose points are vectors `(*batch, n)`."""

    event_ndim: ClassVar[int] = 1

    @property
    @abstractmethod
    def kappa(self) -> float:
        """The sectional curvature."""

    def residual(self, x: Tensor) -> Tensor:
        """The excess of `sqrt(-k) ||x||` over 1; 0 for any vector if `k` is not negative."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        if self.kappa >= 0:
            return torch.where(torch.isfinite(wide).all(-1), 0.0, torch.nan).to(wide.dtype)
        norm = torch.linalg.vector_norm(wide, dim=-1)
        return (norm * math.sqrt(-self.kappa) - 1).clamp_min(0)

    def project(self, z: Tensor) -> Tensor:
        """`z` itself, or the nearest vector of norm at most `(1 - 4 eps) / sqrt(-k)`."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return gyro_inside(self, z, z.dtype)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z` itself: the set is open."""
        return z

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a number."""
        if len(shape) < 1:
            raise ValueError(
                f"{type(self).__name__}: a point is a vector, got a number; use x.reshape(1)"
            )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n`."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1]
