"""Linear subspaces of square matrices: symmetric and skew-symmetric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds.euclidean import FLAT, straight
from torchmanifold.manifolds.geometry import (
    EuclideanMetric,
    Exp,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
)
from torchmanifold.manifolds.linalg import frobenius, in_working_precision, skew, sym
from torchmanifold.manifolds.manifold import Manifold

__all__ = ["SkewSymmetric", "Symmetric", "relative", "square_side"]


def square_side(name: str, shape: tuple[int, ...], otherwise: str = "") -> int:
    """The side of square matrices of the given shape; an error with the remedy otherwise."""
    if len(shape) < 2 or shape[-1] != shape[-2]:
        count = shape[0] // shape[1] if len(shape) == 2 and shape[1] else 0
        if count > 1 and shape[0] == count * shape[1]:
            otherwise = f"; {count} stacked square blocks take blocks={count}"
        raise ValueError(
            f"{name}: a point is a square matrix, got the shape {tuple(shape)}{otherwise}"
        )
    return shape[-1]


def relative(defect: Tensor, x: Tensor) -> Tensor:
    """`||defect||_F / ||x||_F`, and `0 / 0 = 0`: the residual where points have a scale."""
    size = frobenius(x.detach().to(torch.promote_types(x.dtype, torch.float64)))
    return frobenius(defect) / torch.where(size > 0, size, torch.ones_like(size))


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

    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {EuclideanMetric: FLAT}
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {Exp: straight}

    def residual(self, x: Tensor) -> Tensor:
        """`||x - x'||_F / (2 ||x||_F)`."""
        return relative(skew(x.to(torch.promote_types(x.dtype, torch.float64))), x)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The symmetric part."""
        return sym(z)

    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """The symmetric part of `z`."""
        return sym(z)

    def random(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """The symmetric part of a standard normal matrix (the space is not compact)."""
        self.dim(shape)
        return sym(torch.randn(*shape, generator=generator, dtype=dtype, device=device))

    def dim(self, shape: tuple[int, ...]) -> int:
        """`n (n + 1) / 2`."""
        n = square_side("Symmetric", shape)
        return n * (n + 1) // 2


@dataclass(frozen=True)
class SkewSymmetric(Manifold):
    """Skew-symmetric (skew-Hermitian) matrices, `x = -x'`, of dimension `n (n - 1) / 2`.

    The residual is `||x + x'||_F / (2 ||x||_F)`.

    Example:
        >>> import torch, torchmanifold as tm
        >>> tm.SkewSymmetric().project(torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Exp()

    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {EuclideanMetric: FLAT}
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {Exp: straight}

    def residual(self, x: Tensor) -> Tensor:
        """`||x + x'||_F / (2 ||x||_F)`."""
        return relative(sym(x.to(torch.promote_types(x.dtype, torch.float64))), x)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The skew-symmetric part."""
        return skew(z)

    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """The skew-symmetric part of `z`."""
        return skew(z)

    def random(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """The skew-symmetric part of a standard normal matrix (the space is not compact)."""
        self.dim(shape)
        return skew(torch.randn(*shape, generator=generator, dtype=dtype, device=device))

    def dim(self, shape: tuple[int, ...]) -> int:
        """`n (n - 1) / 2`."""
        n = square_side("SkewSymmetric", shape)
        return n * (n - 1) // 2
