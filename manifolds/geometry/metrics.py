"""Metrics as values, and their rows in the tables of manifolds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchmanifold.manifolds.geometry.manifold import Manifold

__all__ = [
    "AffineInvariant",
    "BuresWasserstein",
    "Canonical",
    "ConstantCurvature",
    "EuclideanCholesky",
    "EuclideanMetric",
    "Fisher",
    "Hyperbolic",
    "LogCholesky",
    "LogEuclidean",
    "Metric",
    "MetricRule",
    "Weighted",
    "keep_coordinates",
]


@dataclass(frozen=True)
class Metric:
    """A Riemannian metric: an inner product on each tangent space."""


@dataclass(frozen=True)
class EuclideanCholesky(Metric):
    """The Frobenius inner product of `D^-1 L` for correlations `L L'`, with `D = diag(L)`."""


@dataclass(frozen=True)
class EuclideanMetric(Metric):
    """The Frobenius inner product of the embedding space."""


@dataclass(frozen=True)
class Canonical(Metric):
    """The quotient metric of Stiefel, `tr(u'(I - x x'/2) v)` (Edelman, Arias & Smith 1998)."""


@dataclass(frozen=True)
class AffineInvariant(Metric):
    """`tr(x^-1 u x^-1 v)` on positive definite matrices."""


@dataclass(frozen=True)
class Fisher(Metric):
    """`sum u v / x` on positive numbers with given sums: the Fisher information metric."""


@dataclass(frozen=True)
class LogCholesky(Metric):
    """The Frobenius inner product of Cholesky factors with log diagonals (Lin 2019)."""


@dataclass(frozen=True)
class Hyperbolic(Metric):
    """The metric of constant negative curvature (Cannon et al., Hyperbolic geometry, 1997)."""


@dataclass(frozen=True)
class ConstantCurvature(Metric):
    """`4 u'v / (1 + k ||x||^2)^2`, of sectional curvature `k`, in stereographic coordinates."""


@dataclass(frozen=True)
class LogEuclidean(Metric):
    """The pullback of the Frobenius inner product by the matrix logarithm (Arsigny et al. 2007)."""


@dataclass(frozen=True)
class BuresWasserstein(Metric):
    """`tr(L_u x L_v)`, where `L_u x + x L_u = u`; the metric of optimal transport."""


@dataclass(frozen=True)
class Weighted(Metric):
    """`tr(u'b v)`, with the positive definite matrix `b` of the manifold."""


Row2 = Callable[[Any, Tensor, Tensor], Tensor]
Row3 = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
Row4 = Callable[[Any, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class MetricRule:
    """One metric on one manifold: the functions that implement it.

    If `inner`, `gradient`, `coordinates`, `inverse_coordinates`, `carry` or `hessian` is None, it
    is that of a submanifold with the Frobenius inner product: `inner` sums over the entries,
    `hessian` follows from `weingarten`, and the others are the orthogonal projection to the tangent
    space. If `steepest` or `dist` is None, it has the default below. Any other function that is
    None has no known closed form.

    Args:
        inner: `(manifold, x, u, v) -> (*batch,)`.
        gradient: `(manifold, x, egrad) -> g^-1 egrad`, the Riemannian gradient.
        coordinates: `(manifold, x, v) -> B_x v`, linear, onto the tangent space at `x`, with
            `B_x B_x* = g^-1`. In these coordinates gradient descent on `v` is Riemannian gradient
            descent.
        inverse_coordinates: a right inverse of `coordinates` on the tangent space.
        steepest: `(manifold, x, egrad, dtype) -> tangent`, the steepest direction in the spectral
            norm; by default the polar factor of the gradient.
        carry: `(manifold, x, y, w) -> w'`, linear, from the tangent space at `x` to that at `y`.
        weingarten: `(manifold, x, v, w) -> tangent`, the Weingarten map of the normal vector `w`
            along `v`, for the metric of a submanifold; the Hessian follows.
        hessian: `(manifold, x, egrad, ehess, v) -> tangent`, for any other metric.
        exp: `(manifold, x, v) -> y`, the geodesic, if it is exact.
        log: `(manifold, x, y) -> v`, its inverse, if it is exact.
        dist: `(manifold, x, y) -> (*batch,)`; by default the norm of the logarithm.
        parallel_transport: `(manifold, x, v, w) -> w'`, parallel along the geodesic of `v`.
        injectivity_radius: `(manifold, shape) -> float`.
    """

    inner: Row3 | None = None
    gradient: Row2 | None = None
    steepest: Callable[[Any, Tensor, Tensor, torch.dtype | None], Tensor] | None = None
    coordinates: Row2 | None = None
    inverse_coordinates: Row2 | None = None
    carry: Row3 | None = None
    weingarten: Row3 | None = None
    hessian: Row4 | None = None
    exp: Row2 | None = None
    log: Row2 | None = None
    dist: Row2 | None = None
    parallel_transport: Row3 | None = None
    injectivity_radius: Callable[[Any, tuple[int, ...]], float] | None = None

    @property
    def embedded(self) -> bool:
        """Whether gradient and transport are both the orthogonal projection, made by one call."""
        return self.gradient is None and self.carry is None


def keep_coordinates(M: Manifold, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Carry `w` from `x` to `y` by its coordinates, which is an isometry of the metric."""
    # A projection would leave `w` as it is. If the point has shrunk, the same matrix is longer in
    # the metric, and momentum would grow without bound.
    return M.coordinates(y, M.inverse_coordinates(x, w))
