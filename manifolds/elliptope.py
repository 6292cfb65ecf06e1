"""Correlation matrices of a fixed rank, held as factors with unit rows."""

from __future__ import annotations

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
    circle_dot,
    circle_exp,
    circle_unit,
    guarded,
    horizontal,
    is_complex,
    refuse_wide,
)
from torchmanifold.manifolds.linalg import in_working_precision

__all__ = ["Elliptope"]

_ROW = (-1,)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    # Orthogonal matrices act by isometries on the spheres of the rows, so a great circle that
    # leaves in a horizontal direction stays horizontal.
    return circle_exp(x, v, _ROW)


def _nearest(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return circle_unit(x + v, _ROW)


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return M.tangent(x, ehess - circle_dot(x, egrad, _ROW) * v)


def _carry(M: Manifold, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return M.tangent(y, w)


@dataclass(frozen=True)
class Elliptope(Manifold):
    r"""Correlation matrices of rank `k`, held as factors `Y` with unit rows, `(*batch, n, k)`.

    The matrix is `Y Y'`, whose diagonal is 1, and `Y Q` with orthogonal `Q` is the same point, so a
    loss must not depend on `Q`: `f(Y Q) = f(Y)`. Tangent vectors are the horizontal ones, with
    `<y_i, v_i> = 0` for every row and `Y'v` symmetric, in the Frobenius inner product. Max-cut
    relaxations and factor models use this set; the points of `Correlation()` have full rank.

    The residual is `(sum_i (|y_i| - 1)^2)^(1/2)`. The rank is the number of columns.

    There is no logarithm and no distance. Both need the `Q` that brings the rows of `Z Q` nearest
    to those of `Y` in angle, a minimum over orthogonal matrices that has no closed form.

    Source: Journee, Bach, Absil & Sepulchre, Low-rank optimization on the cone of positive
    semidefinite matrices, SIAM J. Optim. 20, 2010, section 4; Grubisic & Pietersz, Efficient rank
    reduction of correlation matrices, Linear Algebra Appl. 422, 2007.

    Example:
        >>> import torch, torchmanifold as tm
        >>> y = tm.Elliptope().random(4, 2)
        >>> (y @ y.mT).diagonal()
        tensor([1.0000, 1.0000, 1.0000, 1.0000])
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Projection()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(hessian=_hessian, exp=_exp, carry=_carry)
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Projection: RetractionRule(_nearest, {EuclideanMetric: 2}),
        Exp: RetractionRule(_exp, {EuclideanMetric: 2}),
    }

    def residual(self, x: Tensor) -> Tensor:
        """The distance of the rows' norms from 1, evaluated in float64."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        norms = torch.linalg.vector_norm(wide, dim=-1)
        return torch.linalg.vector_norm(norms - 1, dim=-1)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The rows over their norms; a row of zeros becomes the first unit vector."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        first = torch.zeros_like(z[..., :1, :])
        first[..., 0] = 1
        return circle_unit(torch.where((z == 0).all(-1, keepdim=True), first, z), _ROW)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """Rows orthogonal to those of `x`, without the part that rotates all rows alike."""
        return horizontal(x, z - circle_dot(x, z, _ROW) * x)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Independent rows, each uniform on its sphere."""
        return circle_unit(z, _ROW)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a wide factor."""
        refuse_wide("Elliptope", shape)

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (k - 1) - k (k - 1) / 2`, and `n (2 k - 1) - k^2` for complex matrices."""
        self.check_shape(shape)
        n, k = shape[-2:]
        return n * (2 * k - 1) - k * k if is_complex(dtype) else n * (k - 1) - k * (k - 1) // 2
