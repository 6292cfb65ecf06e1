"""The linear space of symmetric matrices."""

from __future__ import annotations

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
    require_square,
    straight,
)
from torchmanifold.manifolds.linalg import in_working_precision, relative, skew, sym

__all__ = ["Symmetric"]


@dataclass(frozen=True)
class Symmetric(Manifold):
    """Symmetric (Hermitian) matrices, `x = x'`: a linear space of dimension `n (n + 1) / 2`.

    The residual is `||x - x'||_F / (2 ||x||_F)`.

    Example:
        >>> import torch, torchmanifold as tm
        >>> tm.Symmetric().project(torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
        tensor([[1., 1.],
                [1., 3.]])
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Exp()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {EuclideanMetric: FLAT}
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {Exp: straight}

    def residual(self, x: Tensor) -> Tensor:
        """`||x - x'||_F / (2 ||x||_F)`."""
        return relative(skew(x.to(torch.promote_types(x.dtype, torch.float64))), x)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The symmetric part."""
        self.check_dtype(z.dtype)
        return sym(z)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """The symmetric part of `z`."""
        return sym(z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The symmetric part of a standard normal matrix (the space is not compact)."""
        return sym(z)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square("Symmetric", shape)

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (n + 1) / 2`, and `n^2` for complex matrices."""
        self.check_shape(shape)
        n = shape[-1]
        return n * n if is_complex(dtype) else n * (n + 1) // 2
