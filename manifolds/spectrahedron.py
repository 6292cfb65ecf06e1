"""Positive semidefinite matrices of trace 1 and a fixed rank, held as factors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    BuresWasserstein,
    Exp,
    Manifold,
    Metric,
    MetricRule,
    Projection,
    Retraction,
    RetractionRule,
    aligned,
    circle_angle,
    circle_dot,
    circle_exp,
    circle_log,
    circle_unit,
    guarded,
    horizontal,
    is_complex,
    refuse_wide,
)
from torchmanifold.manifolds.linalg import frobenius, in_working_precision

__all__ = ["Spectrahedron"]

_ALL = (-2, -1)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return circle_exp(x, v, _ALL)


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return circle_log(x, aligned(x, y), _ALL)


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return circle_angle(x, aligned(x, y), _ALL)


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return M.tangent(x, ehess - circle_dot(x, egrad, _ALL) * v)


def _carry(M: Manifold, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return M.tangent(y, w)


def _nearest(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return circle_unit(x + v, _ALL)


def _inverse_nearest(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    y = aligned(x, y)
    return y / circle_dot(x, y, _ALL) - x


@dataclass(frozen=True)
class Spectrahedron(Manifold):
    r"""Positive semidefinite matrices of trace 1 and rank `k`, as factors `Y`, `(*batch, n, k)`.

    The matrix is `Y Y'`, with `||Y||_F = 1`, and `Y Q` with orthogonal `Q` is the same point, so a
    loss must not depend on `Q`: `f(Y Q) = f(Y)`. Complex points are the density matrices of quantum
    states of rank `k`; one column is a pure state. Tangent vectors are the horizontal ones,
    `<Y, v> = 0` and `Y'v` symmetric, in the Frobenius inner product. The distance is the Bures
    angle, `arccos tr |Y'Z|`.

    The residual is `| ||Y||_F - 1 |`. The rank is the number of columns.

    Source: Journee, Bach, Absil & Sepulchre, Low-rank optimization on the cone of positive
    semidefinite matrices, SIAM J. Optim. 20, 2010, section 5; Uhlmann, The metric of Bures and the
    geometric phase, 1992.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Spectrahedron()
        >>> x = M.project(torch.ones(3, 2).tril())
        >>> (x @ x.mT).trace()
        tensor(1.)
    """

    metric: Metric = BuresWasserstein()
    retraction: Retraction = Projection()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        BuresWasserstein: MetricRule(hessian=_hessian, exp=_exp, log=_log, dist=_dist, carry=_carry)
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Projection: RetractionRule(_nearest, {BuresWasserstein: 2}, _inverse_nearest),
        Exp: RetractionRule(_exp, {BuresWasserstein: 2}, _log),
    }

    def residual(self, x: Tensor) -> Tensor:
        """`| ||x||_F - 1 |`, evaluated in float64."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        return (frobenius(wide) - 1).abs()

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """`z / ||z||_F`; a multiple of the first columns of the identity if `z` is zero."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        n, k = z.shape[-2:]
        first = torch.eye(n, k, dtype=z.dtype, device=z.device) / math.sqrt(k)
        zero = (z == 0).all(-1).all(-1)[..., None, None]
        return circle_unit(torch.where(zero, first, z), _ALL)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - <x, z> x - x W`, with the skew `W` that makes `x'z` symmetric."""
        return horizontal(x, z - circle_dot(x, z, _ALL) * x)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """A uniform factor; for `k = n` this is the Hilbert-Schmidt ensemble."""
        return circle_unit(z, _ALL)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a wide factor."""
        refuse_wide("Spectrahedron", shape)

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n k - 1 - k (k - 1) / 2`, and `2 n k - 1 - k^2` for complex matrices."""
        self.check_shape(shape)
        n, k = shape[-2:]
        return 2 * n * k - 1 - k * k if is_complex(dtype) else n * k - 1 - k * (k - 1) // 2
