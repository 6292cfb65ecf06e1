"""The special orthogonal group: rotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

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
    require_square,
)
from torchmanifold.manifolds.linalg import (
    determinant_sign,
    gram_residual,
    in_working_precision,
    skew,
)

__all__ = ["SpecialOrthogonal"]


def _flip(x: Tensor, sign: Tensor) -> Tensor:
    """Multiply the last column by `sign`."""
    return torch.cat([x[..., :-1], x[..., -1:] * sign[..., None, None]], dim=-1)


@dataclass(frozen=True)
class SpecialOrthogonal(Manifold):
    """Rotations of n-space: `x'x = I` and `det x = 1`, shape `(*batch, n, n)`, real.

    The residual is `||x'x - I||_F`, plus 2 (the distance between the two components of the
    orthogonal group) if the determinant is negative. Tangent vectors are `x a` with `a`
    skew-symmetric. `Exp` is `x expm(x'v)`. The logarithm exists up to a half turn; at a half turn
    it is not unique, and NaN. Orthogonal matrices of determinant -1 are points of `Orthogonal()`.

    Source: Edelman, Arias & Smith 1998, section 2.2; Absil, Mahony & Sepulchre 2008, 3.3.2.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.SpecialOrthogonal()
        >>> x = M.random(4, 4, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.linalg.det(M.retract(x, M.random_tangent(x))) > 0)
        True
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Cayley()

    event_ndim: ClassVar[int] = 2
    orthonormal: ClassVar[bool] = True
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {EuclideanMetric: GROUP_METRIC}
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = GROUP_RETRACTIONS

    def residual(self, x: Tensor) -> Tensor:
        """`||x'x - I||_F`, plus 2 if the determinant is not positive."""
        self.check_dtype(x.dtype)
        sign = determinant_sign(x.detach().to(torch.float64))
        return gram_residual(x) + 2 * (sign < 0)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The nearest rotation: the polar factor, with one direction reversed if needed.

        Source: Kabsch 1976; Umeyama 1991.
        """
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return maps.nearest_rotation(z)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`x skew(x'z)`."""
        return x @ skew(x.mH @ z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform (Haar) on the group.

        Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007.
        """
        q = maps.qr(z)
        return _flip(q, determinant_sign(q))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square(
            "SpecialOrthogonal", shape, "; matrices of another shape may be points of Stiefel()"
        )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (n - 1) / 2`."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1] * (shape[-1] - 1) // 2
