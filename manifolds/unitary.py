"""The unitary group."""

from __future__ import annotations

import dataclasses
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
    phase_radius,
    require_square,
)
from torchmanifold.manifolds.linalg import gram_residual, in_working_precision, skew

__all__ = ["Unitary"]


@dataclass(frozen=True)
class Unitary(Manifold):
    """Unitary matrices: `x*x = I`, shape `(*batch, n, n)`, complex.

    The residual is `||x*x - I||_F`. Tangent vectors are `x a` with `a` skew-Hermitian; their inner
    product is the real part of the Frobenius one, and the group has `n^2` real dimensions. `Exp` is
    `x expm(x*v)`.

    Source: Edelman, Arias & Smith 1998, section 2.2; Abrudan, Eriksson & Koivunen, Steepest descent
    algorithms for optimization under unitary matrix constraint, IEEE Trans. Signal Process. 56
    (2008).

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Unitary()
        >>> x = M.random(3, 3, dtype=torch.complex64)
        >>> bool(M.residual(x) < 1e-6), M.dim((3, 3))
        (True, 9)
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Cayley()

    event_ndim: ClassVar[int] = 2
    numbers: ClassVar[Literal["real", "complex", "either"]] = "complex"
    orthonormal: ClassVar[bool] = True
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: dataclasses.replace(GROUP_METRIC, injectivity_radius=phase_radius)
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = GROUP_RETRACTIONS

    def residual(self, x: Tensor) -> Tensor:
        """`||x*x - I||_F`."""
        self.check_dtype(x.dtype)
        return gram_residual(x)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The nearest unitary matrix, the polar factor.

        Source: Fan & Hoffman 1955.
        """
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return nearest_orthonormal(z)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`x skew(x*z)`, with the skew-Hermitian part."""
        return x @ skew(x.mH @ z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform (Haar) on the group.

        Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007.
        """
        return maps.qr(z)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square("Unitary", shape, "; matrices of another shape may be points of Stiefel()")

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n^2` real dimensions."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1] ** 2
