"""Doubly stochastic matrices, in the Fisher metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    Fisher,
    Manifold,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
    Sinkhorn,
    guarded,
    keep_coordinates,
    require_square,
)
from torchmanifold.manifolds.linalg import in_working_precision, sym

__all__ = ["DoublyStochastic"]

LONGEST = 4.0  # the largest logarithm of a step


def _part(M: DoublyStochastic, z: Tensor) -> Tensor:
    """The part of a matrix in the space of the manifold: all of it, or the symmetric one."""
    return sym(z) if M.symmetric else z


def _inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return (u * v / x).sum((-2, -1))


def _gradient(M: DoublyStochastic, x: Tensor, egrad: Tensor) -> Tensor:
    return _part(M, maps.scaling_tangent(x, x * _part(M, egrad)))


def _coordinates(M: DoublyStochastic, x: Tensor, v: Tensor) -> Tensor:
    return _part(M, maps.scaling_tangent(x, x.sqrt() * _part(M, v)))


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return u / x.sqrt()


def _hessian(M: DoublyStochastic, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    bent = x * _part(M, ehess) + v * _gradient(M, x, egrad) / (2 * x)
    return _part(M, maps.scaling_tangent(x, bent))


def _sinkhorn(M: DoublyStochastic, x: Tensor, v: Tensor) -> Tensor:
    a = v / x
    # A longer step is shortened, because the scaling would not converge within its iterations.
    a = a * (LONGEST / a.abs().amax((-2, -1), keepdim=True).clamp_min(LONGEST))
    # Without the second term the step would be of first order.
    return _part(M, maps.doubly_stochastic(x.log() + a - a.square() / 4))


@dataclass(frozen=True)
class DoublyStochastic(Manifold):
    r"""Positive matrices whose rows and columns add to one, `(*batch, n, n)`.

    The metric is Fisher's, `sum u v / x`. The retraction scales `x o exp(v/x - (v/x)^2 / 4)` by
    Sinkhorn's iteration, in the log domain; a step with an entry of `v / x` beyond 4 is shortened.

    The residual is the largest `|sum - 1|` of a row or column, plus the share of entries that are
    not positive. `project` scales the positive part of a matrix, lifted to `eps` times its largest
    entry: the nearest point in the Kullback-Leibler divergence, not in the Frobenius norm.

    Symmetric matrices are the weights of undirected graphs whose nodes all have degree 1: mixing in
    a network of equals, kernels that are normalized for clustering.

    Args:
        symmetric: whether the matrices are symmetric too.

    Source: Douik & Hassibi, Manifold optimization over the set of doubly stochastic matrices,
    IEEE Trans. Signal Process. 67 (2019).

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.DoublyStochastic()
        >>> x = M.random(3, 3, generator=torch.Generator().manual_seed(0))
        >>> bool(M.residual(x) < 1e-6), M.dim((3, 3))
        (True, 4)
    """

    symmetric: bool = False
    metric: Metric = Fisher()
    retraction: Retraction = Sinkhorn()

    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        Fisher: MetricRule(
            inner=_inner,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            carry=keep_coordinates,
            hessian=_hessian,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Sinkhorn: RetractionRule(_sinkhorn, {Fisher: 2}),
    }

    def residual(self, x: Tensor) -> Tensor:
        """The largest `|sum - 1|`, the share of entries that are not positive, and asymmetry."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        off = torch.maximum((wide.sum(-1) - 1).abs().amax(-1), (wide.sum(-2) - 1).abs().amax(-1))
        off = off + (wide <= 0).to(wide.dtype).mean((-2, -1))
        return off + (wide - wide.mT).abs().amax((-2, -1)) if self.symmetric else off

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """Sinkhorn's limit of the positive part."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        z = _part(self, z)
        top = z.detach().amax((-2, -1), keepdim=True)
        floor = torch.where(top > 0, top, 1.0) * torch.finfo(z.dtype).eps
        return _part(self, maps.doubly_stochastic(torch.maximum(z, floor).log()))

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z` minus the means of its rows and columns, plus its mean."""
        z = _part(self, z)
        rows, columns = z.mean(-1, keepdim=True), z.mean(-2, keepdim=True)
        return z - rows - columns + rows.mean(-2, keepdim=True)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Sinkhorn's limit of the exponentials of `z`."""
        return _part(self, maps.doubly_stochastic(_part(self, z)))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square(
            "DoublyStochastic", shape, "; rows that add to one are points of Multinomial()"
        )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`(n - 1)^2`, and `n (n - 1) / 2` of symmetric matrices."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        n = shape[-1]
        return n * (n - 1) // 2 if self.symmetric else (n - 1) ** 2
