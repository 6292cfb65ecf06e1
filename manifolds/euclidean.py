"""Euclidean space: the manifold of ordinary weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    FLAT,
    EuclideanMetric,
    Exp,
    Manifold,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
    guarded,
    is_complex,
    straight,
)
from torchmanifold.manifolds.linalg import event_sum

__all__ = ["Euclidean"]


@dataclass(frozen=True)
class Euclidean(Manifold):
    """The space of all tensors with `ndim` dimensions, without a constraint.

    Args:
        ndim: dimensions of one point; further leading dimensions are a batch.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Euclidean(ndim=1)
        >>> M.dist(torch.zeros(3), torch.tensor([3.0, 0.0, 4.0]))
        tensor(5.)
    """

    ndim: int = 2
    metric: Metric = EuclideanMetric()
    retraction: Retraction = Exp()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {EuclideanMetric: FLAT}
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {Exp: straight}

    @property
    def event_ndim(self) -> int:
        """Number of trailing dimensions that belong to one point: `ndim`."""
        return self.ndim

    def residual(self, x: Tensor) -> Tensor:
        """Zero: nothing is constrained."""
        return torch.zeros_like(event_sum(x, self.ndim), dtype=torch.float64)

    def project(self, z: Tensor) -> Tensor:
        """`z` itself."""
        self.check_dtype(z.dtype)
        return z

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z` itself."""
        return z

    def sample(self, z: Tensor) -> Tensor:
        """`z` itself (the space is not compact)."""
        return z

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a tensor of fewer dimensions."""
        if len(shape) < self.ndim:
            raise ValueError(
                f"Euclidean(ndim={self.ndim}): a point has {self.ndim} dimensions, got the shape "
                f"{tuple(shape)}; use Euclidean(ndim={len(shape)})"
            )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """The number of entries, and twice as many for complex tensors."""
        self.check_shape(shape)
        return math.prod(shape[len(shape) - self.ndim :]) * (2 if is_complex(dtype) else 1)
