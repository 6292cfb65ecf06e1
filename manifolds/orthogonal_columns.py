"""Matrices with orthogonal columns of free length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    EuclideanMetric,
    Manifold,
    Metric,
    MetricRule,
    Polar,
    Retraction,
    RetractionRule,
    guarded,
    is_complex,
)
from torchmanifold.manifolds.linalg import adjoint, eye_like, in_working_precision

__all__ = ["OrthogonalColumns"]


def _lengths(x: Tensor) -> Tensor:
    """The lengths of the columns, `(*batch, 1, p)`, also where squares would overflow."""
    size = x.detach().abs().amax(-2, keepdim=True)
    size = torch.where(size > 0, size, 1.0)
    return size * torch.linalg.vector_norm(x / size, dim=-2, keepdim=True)


def _between(x: Tensor, s: Tensor) -> Tensor:
    """The Hermitian `n` without a diagonal that solves `d^2 n + n d^2 = s` off the diagonal."""
    length = _lengths(x)
    total = torch.hypot(length, length.mT)
    total = torch.where(total > 0, total, 1.0)
    return s * (1 - eye_like(s)) / total / total


def _weingarten(M: OrthogonalColumns, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    inside = adjoint(x) @ w
    return M.tangent(x, -v @ _between(x, inside + adjoint(inside)))


@in_working_precision
def _orthogonalized(y: Tensor, eps: float) -> Tensor:
    length = _lengths(y)
    # A column of length zero gets a direction and the least length that a column can have.
    least = eps * torch.where(length.amax(-1, keepdim=True) > 0, length.amax(-1, keepdim=True), 1.0)
    unit = y / torch.where(length > 0, length, 1.0)
    return maps.polar(unit) * torch.maximum(length, least)


def _retract(M: OrthogonalColumns, x: Tensor, v: Tensor) -> Tensor:
    # The second term makes the retraction one of second order. The step in it is shortened so that
    # it never exceeds the point; this changes terms of fourth order alone.
    size = torch.linalg.vector_norm(_lengths(x), dim=-1, keepdim=True)
    w = v / size
    largest = w.detach().abs().amax((-2, -1), keepdim=True).clamp_min(1)
    square = (w / largest).abs().square().sum((-2, -1), keepdim=True)
    w = w / largest / (1 / largest.square() + square).sqrt()
    y = x + v - x @ _between(x / size, adjoint(w) @ w)
    return _orthogonalized(y, torch.finfo(x.dtype).eps)


@dataclass(frozen=True)
class OrthogonalColumns(Manifold):
    r"""Matrices with orthogonal columns that are not zero, `(*batch, n, p)`: `x'x` is diagonal.

    The directions are constrained, as on `Stiefel`, and the lengths are free: a weight that keeps
    its features apart and learns their scales. Tangent vectors are those for which `x'v + v'x` is
    diagonal. The projection `z - x n` has `n_ij = (x'z + z'x)_ij / (d_i^2 + d_j^2)` with the
    lengths `d`, and no diagonal.

    The retraction takes the lengths of `x + v - x n`, with `n_ij = (v'v)_ij / (d_i^2 + d_j^2)` in
    the limit of short steps, and the polar factor of its normalized columns. It is of second order,
    for columns in any order. The set is open in its closure: a
    column may become short, never zero. `project` does the same with `z`, which is close to the
    nearest point if `z` is close to the set. The residual is the norm of the off-diagonal part of
    the Gram matrix of the normalized columns, and at least 1 with a column of zeros.

    Source: Absil, Mahony & Trumpf 2013, eq. (7), for the Hessian.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.OrthogonalColumns()
        >>> x = M.project(torch.tensor([[3.0, 1.0], [0.0, 2.0], [0.0, 0.0]]))
        >>> x.norm(dim=0)
        tensor([3.0000, 2.2361])
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Polar()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(weingarten=_weingarten)
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Polar: RetractionRule(_retract, {EuclideanMetric: 2})
    }

    def residual(self, x: Tensor) -> Tensor:
        """The off-diagonal norm of the Gram matrix of normalized columns, in float64."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        length = _lengths(wide)
        unit = wide / torch.where(length > 0, length, 1.0)
        gram = adjoint(unit) @ unit
        defect = torch.linalg.matrix_norm(gram * (1 - eye_like(gram)))
        return torch.where((length == 0).any(-1).any(-1), defect.clamp_min(1.0), defect)

    def project(self, z: Tensor) -> Tensor:
        """The polar factor of the normalized columns, with the lengths of the columns."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return _orthogonalized(z, torch.finfo(z.dtype).eps)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - x n`, with the off-diagonal `n` of the class."""
        inside = adjoint(x) @ z
        return z - x @ _between(x, inside + adjoint(inside))

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The Q factor of `z`, times the lengths of its columns."""
        return maps.qr(z) * _lengths(z)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a wide matrix."""
        if len(shape) < 2 or shape[-2] < shape[-1]:
            raise ValueError(
                f"OrthogonalColumns: a point has at least as many rows as columns, got the shape "
                f"{tuple(shape)}; a wide matrix is a point of Transposed(OrthogonalColumns())"
            )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n p - p (p - 1) / 2`, and `2 n p - p (p - 1)` for complex matrices."""
        self.check_shape(shape)
        n, p = shape[-2:]
        degrees = n * p - p * (p - 1) // 2
        return 2 * degrees if is_complex(dtype) else degrees
