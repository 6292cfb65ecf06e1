"""The flag manifold: nested subspaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    QR,
    Canonical,
    Cayley,
    EuclideanMetric,
    Exp,
    Manifold,
    Metric,
    MetricRule,
    Polar,
    Retraction,
    RetractionRule,
    canonical_cayley,
    canonical_coordinates,
    canonical_exp,
    canonical_gradient,
    canonical_hessian,
    canonical_inner,
    canonical_inverse_coordinates,
    guarded,
    is_complex,
    nearest_orthonormal,
    polar,
    qr,
)
from torchmanifold.manifolds.linalg import gram_residual, in_working_precision, skew, sym

__all__ = ["Flag"]


def _hessian(M: Flag, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return M.tangent(x, ehess - v @ sym(x.mH @ egrad))


def _canonical_hessian(M: Flag, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return M.tangent(x, canonical_hessian(M, x, egrad, ehess, v))


@dataclass(frozen=True)
class Flag(Manifold):
    r"""Flags: subspaces `V_1 < V_2 < ... < V_k` of n-space, each in the next.

    A point is an orthonormal basis `(*batch, n, p)` of the largest one, whose first `dims[0]`
    columns span `V_1`, whose next `dims[1]` columns complete it to `V_2`, and so on. The columns of
    a block may be rotated among themselves: `x diag(q_1, ..., q_k)` is the same point, so a loss
    must not depend on the bases of the blocks. One block is the Grassmann manifold; blocks of one
    column order the vectors of a basis up to their signs, as principal components are.

    Tangent vectors are those of the Stiefel manifold whose diagonal blocks of `x'v` vanish. The
    residual is `||x'x - I||_F`. In the canonical metric geodesics are those of the Stiefel manifold
    in a horizontal direction; in the Euclidean metric, and for logarithms, no closed form is known.

    Args:
        dims: the number of columns of each block; `p` is their sum.

    Source: Ye, Wong & Lim, Optimization on flag manifolds, Math. Program. 194, 2022; Nguyen, Closed
    form geodesics and optimization for Riemannian logarithms of Stiefel and flag manifolds, 2021.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Flag((1, 2))
        >>> x = M.random(5, 3, generator=torch.Generator().manual_seed(0))
        >>> v = M.tangent(x, torch.ones(5, 3))
        >>> bool((x.mT @ v)[1:, 1:].abs().max() < 1e-6)
        True
    """

    dims: tuple[int, ...]
    metric: Metric = Canonical()
    retraction: Retraction = QR()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    orthonormal: ClassVar[bool] = True
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        Canonical: MetricRule(
            inner=canonical_inner,
            gradient=canonical_gradient,
            coordinates=canonical_coordinates,
            inverse_coordinates=canonical_inverse_coordinates,
            hessian=_canonical_hessian,
            exp=canonical_exp,
        ),
        EuclideanMetric: MetricRule(hessian=_hessian),
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        QR: RetractionRule(qr, {EuclideanMetric: 1, Canonical: 1}),
        Polar: RetractionRule(polar, {EuclideanMetric: 2, Canonical: 1}),
        Cayley: RetractionRule(canonical_cayley, {EuclideanMetric: 1, Canonical: 2}),
        Exp: RetractionRule(canonical_exp, {Canonical: 2}),
    }

    def __post_init__(self) -> None:
        """Refuse anything but a tuple of positive integers."""
        fits = isinstance(self.dims, tuple) and len(self.dims) > 0
        if not fits or not all(type(d) is int and d > 0 for d in self.dims):
            raise ValueError(
                f"Flag: dims must be a tuple of positive integers, the columns of each block, as "
                f"in Flag((1, 2)), got {self.dims!r}"
            )
        super().__post_init__()

    def residual(self, x: Tensor) -> Tensor:
        """`||x'x - I||_F`, evaluated in float64."""
        return gram_residual(x)

    def project(self, z: Tensor) -> Tensor:
        """The polar factor: the nearest orthonormal basis."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return nearest_orthonormal(z)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - x x'z + x K`, with `K` the skew part of `x'z` without its diagonal blocks."""
        inside = x.mH @ z
        return z - x @ (inside - skew(inside) * self._between(x))

    def _between(self, like: Tensor) -> Tensor:
        """1 between columns of different blocks, 0 within a block."""
        column = torch.arange(like.shape[-1], device=like.device)
        ends = (sum(self.dims[: k + 1]) for k in range(len(self.dims)))
        block = torch.stack([column >= end for end in ends]).sum(0)
        return (block[:, None] != block).to(like.real.dtype)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform: the Q factor, with positive diagonal in R, of a standard normal matrix."""
        return maps.qr(z)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a wide matrix, and another number of columns than that of all blocks."""
        p = sum(self.dims)
        if len(shape) < 2 or shape[-1] != p or shape[-2] < p:
            raise ValueError(
                f"Flag({self.dims}): a point has {p} columns and at least {p} rows, got the shape "
                f"{tuple(shape)}"
            )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n p - p (p + 1) / 2 - sum d (d - 1) / 2`; `2 n p - p^2 - sum d^2` if complex."""
        self.check_shape(shape)
        n, p = shape[-2:]
        if is_complex(dtype):
            return 2 * n * p - p * p - sum(d * d for d in self.dims)
        return n * p - p * (p + 1) // 2 - sum(d * (d - 1) // 2 for d in self.dims)
