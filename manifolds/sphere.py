"""The unit sphere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    EuclideanMetric,
    Exp,
    Manifold,
    Metric,
    MetricRule,
    Projection,
    Retraction,
    RetractionRule,
    guarded,
    is_complex,
)
from torchmanifold.manifolds.linalg import cos_sinc, event_sum, in_working_precision

__all__ = ["Sphere"]


def _dot(u: Tensor, v: Tensor) -> Tensor:
    product = (u.conj() * v).sum(-1, keepdim=True)
    return product.real if product.is_complex() else product


def _unit(x: Tensor) -> Tensor:
    # Division by the largest entry keeps huge and tiny vectors from over- and underflow.
    scale = x.detach().abs().amax(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    x = x / scale
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def _exp(manifold: Manifold, x: Tensor, v: Tensor) -> Tensor:
    cos, sinc = cos_sinc(_dot(v, v))
    # The last normalization keeps the error of 10^4 steps at rounding level; else it would add up.
    return _unit(cos * x + sinc * v)


def _log(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    cos = _dot(x, y)
    u = y - cos * x
    square = _dot(u, u)
    near = (square < 1e-4) & (cos > 0)
    sin = torch.where(near, 1.0, square).sqrt()
    # arcsin(s)/s to order s^10: exact to rounding for s < 1e-2, and smooth at s = 0.
    s = torch.where(near, square, 0.0)
    series = 1 + s * (1 / 6 + s * (3 / 40 + s * (15 / 336 + s * (105 / 3456))))
    return torch.where(near, series, torch.atan2(sin, cos) / sin) * u


def _dist(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    # Accurate for near and for opposite points, unlike arc cosine and arc sine.
    chord, other = (torch.linalg.vector_norm(z, dim=-1) for z in (x - y, x + y))
    return 2 * torch.atan2(chord, other)


def _weingarten(manifold: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return -_dot(x, w) * v


def _transport(manifold: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    # The part of w along v turns with the velocity, and the rest stays.
    square = _dot(v, v)
    cos, sinc = cos_sinc(square)
    # (cos - 1) / |v|^2 = -sinc(|v| / 2)^2 / 2
    half = cos_sinc(square / 4)[1]
    return w - _dot(v, w) * (sinc * x + half.square() / 2 * v)


def _radius(manifold: Manifold, shape: tuple[int, ...]) -> float:
    return math.pi


def _nearest(manifold: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return _unit(x + v)


def _inverse_nearest(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return y / _dot(x, y) - x


@dataclass(frozen=True)
class Sphere(Manifold):
    """Unit vectors, `||x|| = 1`, in the last dimension: points of shape `(*batch, n)`.

    The residual is `| ||x||^2 - 1 |`. `Exp` is the great circle, `x cos|v| + v sin|v| / |v|`.
    The logarithm of the opposite point is not unique, so it is NaN.

    Source: Absil, Mahony & Sepulchre 2008, examples 3.5.1, 4.1.1 and 5.4.1.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Sphere()
        >>> x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> M.dist(x, y)
        tensor(1.5708)
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Projection()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 1
    orthonormal: ClassVar[bool] = True
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(
            weingarten=_weingarten,
            exp=_exp,
            log=_log,
            dist=_dist,
            parallel_transport=_transport,
            injectivity_radius=_radius,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Projection: RetractionRule(_nearest, {EuclideanMetric: 2}, _inverse_nearest),
        Exp: RetractionRule(_exp, {EuclideanMetric: 2}, _log),
    }

    def residual(self, x: Tensor) -> Tensor:
        """`| ||x||^2 - 1 |`, evaluated in float64."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        return (event_sum(wide.conj() * wide, 1) - 1).abs()

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """`z / ||z||`; the first coordinate vector for `z = 0`."""
        self.check_dtype(z.dtype)
        first = torch.zeros_like(z)
        first[..., 0] = 1
        return _unit(torch.where((z == 0).all(-1, keepdim=True), first, z))

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - <x, z> x`."""
        return z - _dot(x, z) * x

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform on the sphere."""
        return _unit(z)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a number."""
        if len(shape) < 1 or shape[-1] < 1:
            raise ValueError(f"Sphere: a point is a vector, got the shape {tuple(shape)}")

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n - 1`, and `2 n - 1` for complex vectors."""
        self.check_shape(shape)
        return shape[-1] * (2 if is_complex(dtype) else 1) - 1
