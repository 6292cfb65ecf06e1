"""The orthogonal group, with both of its components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    GROUP_METRIC,
    GROUP_RETRACTIONS,
    Cayley,
    EuclideanMetric,
    Manifold,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
    guarded,
    nearest_orthonormal,
    require_square,
)
from torchmanifold.manifolds.linalg import gram_residual, in_working_precision, skew

__all__ = ["Orthogonal"]


@dataclass(frozen=True)
class Orthogonal(Manifold):
    """Orthogonal matrices of both determinants: `x'x = I`, shape `(*batch, n, n)`, real.

    The residual is `||x'x - I||_F`. The group has two components, the rotations and the matrices
    of determinant -1, and every step stays in the component of its point. `project` gives the
    nearest point of either component, and `random` draws from both. The distance between points of
    different components is infinite, and their logarithm is NaN. Tangent vectors are `x a` with `a`
    skew-symmetric.

    Source: Edelman, Arias & Smith 1998, section 2.2; Absil, Mahony & Sepulchre 2008, 3.3.2.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Orthogonal()
        >>> x = M.project(torch.diag(torch.tensor([1.0, 2.0, -1.0])))
        >>> v = M.random_tangent(x, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.linalg.det(M.retract(x, v)) < 0)
        True
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Cayley()

    event_ndim: ClassVar[int] = 2
    numbers: ClassVar[Literal["real", "complex", "either"]] = "real"
    orthonormal: ClassVar[bool] = True
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {EuclideanMetric: GROUP_METRIC}
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = GROUP_RETRACTIONS

    def residual(self, x: Tensor) -> Tensor:
        """`||x'x - I||_F`."""
        self.check_dtype(x.dtype)
        return gram_residual(x)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The nearest orthogonal matrix, the polar factor.

        Source: Fan & Hoffman 1955.
        """
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return nearest_orthonormal(z)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`x skew(x'z)`."""
        return x @ skew(x.mH @ z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform (Haar) on the group, both components.

        Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007.
        """
        return maps.qr(z)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square(
            "Orthogonal", shape, "; matrices of another shape may be points of Stiefel()"
        )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (n - 1) / 2`."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1] * (shape[-1] - 1) // 2
