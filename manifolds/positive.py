"""The positive orthant: vectors of positive numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    Exp,
    LogEuclidean,
    Manifold,
    Metric,
    MetricRule,
    Quadratic,
    Retraction,
    RetractionRule,
    guarded,
)
from torchmanifold.manifolds.linalg import in_working_precision

__all__ = ["Positive"]


def _inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return ((u / x) * (v / x)).sum(-1)


def _gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    return x * x * egrad


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return x * v


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return u / x


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return x * (x * ehess + egrad * v)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return x * torch.exp(v / x)


def _short_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    # No number changes by a factor beyond 1 / eps.
    longest = -math.log(torch.finfo(x.dtype).eps)
    return x * torch.exp((v / x).clamp(-longest, longest))


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return x * torch.log1p((y - x) / x)


def _carry(M: Manifold, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return w * (y / x)


def _transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return w * torch.exp(v / x)


def _radius(M: Manifold, shape: tuple[int, ...]) -> float:
    return math.inf


def _quadratic(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    # (x + (x + v)^2 / x) / 2 is at least x / 2, however long v is.
    return x + v + v * (v / x) / 2


def _inverse_quadratic(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return x * ((2 * (y / x) - 1).sqrt() - 1)


@in_working_precision
def _lifted(z: Tensor, dtype: torch.dtype) -> Tensor:
    """The entries of `z`, lifted to a floor that `dtype` can hold."""
    top, info = z.amax(-1, keepdim=True), torch.finfo(dtype)
    floor = torch.where(top > 0, top, 1.0) * info.eps
    return torch.maximum(z, floor.clamp_min(info.tiny**0.5))


@dataclass(frozen=True)
class Positive(Manifold):
    """Vectors of positive numbers, `(*batch, n)`: scales, rates, variances.

    The metric is that of the logarithms, `sum u v / x^2`: the space is flat, and a step changes
    each number by a factor. `Quadratic`, the default, at most halves a number. `Exp` as a
    retraction changes no number by a factor beyond `1 / eps`.

    The residual is the share of entries that are not positive. `project` lifts entries to `eps`
    times the largest (to `eps` if none is positive).

    Source: Bhatia, Positive Definite Matrices, Princeton 2007, chapter 6: the diagonal matrices
    in the affine-invariant metric.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Positive()
        >>> M.dist(torch.tensor([1.0, 1.0]), torch.tensor([torch.e, 1.0]))
        tensor(1.)
    """

    metric: Metric = LogEuclidean()
    retraction: Retraction = Quadratic()

    event_ndim: ClassVar[int] = 1
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        LogEuclidean: MetricRule(
            inner=_inner,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            carry=_carry,
            hessian=_hessian,
            exp=_exp,
            log=_log,
            parallel_transport=_transport,
            injectivity_radius=_radius,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Quadratic: RetractionRule(_quadratic, {LogEuclidean: 2}, _inverse_quadratic),
        Exp: RetractionRule(_short_exp, {LogEuclidean: 2}, _log),
    }

    def residual(self, x: Tensor) -> Tensor:
        """The share of entries that are not positive."""
        share = (x <= 0).to(torch.float64).mean(-1) if x.shape[-1] else x.sum(-1).double()
        return torch.where(torch.isnan(x).any(-1), torch.nan, share)

    def project(self, z: Tensor) -> Tensor:
        """The nearest vector with entries of at least `eps` times the largest."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return _lifted(z, z.dtype) if z.numel() else z

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z` itself: the set is open."""
        return z

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The exponential of `z`."""
        return z.exp()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a number."""
        if len(shape) < 1:
            raise ValueError("Positive: a point is a vector, got a number; use x.reshape(1)")

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n`."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1]
