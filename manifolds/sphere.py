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
    circle_angle,
    circle_dot,
    circle_exp,
    circle_log,
    circle_transport,
    circle_unit,
    guarded,
    is_complex,
)
from torchmanifold.manifolds.linalg import event_sum, in_working_precision

__all__ = ["Sphere"]


LAST = (-1,)


def _exp(manifold: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return circle_exp(x, v, LAST)


def _log(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return circle_log(x, y, LAST)


def _dist(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return circle_angle(x, y, LAST)


def _weingarten(manifold: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return -circle_dot(x, w, LAST) * v


def _transport(manifold: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return circle_transport(x, v, w, LAST)


def _radius(manifold: Manifold, shape: tuple[int, ...]) -> float:
    return math.pi


def _nearest(manifold: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return circle_unit(x + v, LAST)


def _inverse_nearest(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return y / circle_dot(x, y, LAST) - x


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
        return circle_unit(torch.where((z == 0).all(-1, keepdim=True), first, z), LAST)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - <x, z> x`."""
        return z - circle_dot(x, z, LAST) * x

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform on the sphere."""
        return circle_unit(z, LAST)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a number."""
        if len(shape) < 1 or shape[-1] < 1:
            raise ValueError(f"Sphere: a point is a vector, got the shape {tuple(shape)}")

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n - 1`, and `2 n - 1` for complex vectors."""
        self.check_shape(shape)
        return shape[-1] * (2 if is_complex(dtype) else 1) - 1
