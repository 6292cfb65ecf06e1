"""Metrics as values, and the rows of the tables that manifolds keep of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from torchmanifold.manifolds.geometry.manifold import Manifold

__all__ = [
    "AffineInvariant",
    "BuresWasserstein",
    "Canonical",
    "EuclideanMetric",
    "LogEuclidean",
    "Metric",
    "MetricRule",
    "keep_coordinates",
    "projected",
]


@dataclass(frozen=True)
class Metric:
    """A Riemannian metric: an inner product on each tangent space."""


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
class LogEuclidean(Metric):
    """The pullback of the Frobenius inner product by the matrix logarithm (Arsigny et al. 2007)."""


@dataclass(frozen=True)
class BuresWasserstein(Metric):
    """`tr(L u x L v)` with `L x + x L = .` solved for each; the metric of optimal transport."""


def _embedded_inner(manifold: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return manifold.sum(u.conj() * v)


def projected(manifold: Manifold, x: Tensor, z: Tensor) -> Tensor:
    """The coordinates of a submanifold with the metric of its embedding."""
    return manifold.tangent(x, z)


def _project_to_the_new(manifold: Manifold, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return manifold.tangent(y, w)


@dataclass(frozen=True)
class MetricRule:
    """How one metric works on one manifold; the defaults are those of an embedded submanifold.

    Args:
        inner: `(manifold, x, u, v) -> (*batch,)`.
        gradient: `(manifold, x, egrad) -> g^-1 egrad`, the Riemannian gradient.
        coordinates: `(manifold, x, v) -> B_x v`, linear, onto the tangent space at `x`, with
            `B_x B_x* = g^-1`: the coordinates in which gradient descent on `v` is Riemannian
            gradient descent.
        inverse_coordinates: a right inverse of `coordinates` on the tangent space.
        carry: `(manifold, x, y, w) -> w'`, linear, from the tangent space at `x` to that at `y`.
        hessian: `(manifold, x, egrad, ehess, v) -> tangent`, where it is known.
        exp: `(manifold, x, v) -> y`, the geodesic, where it is exact.
        log: `(manifold, x, y) -> v`, its inverse, where it is exact.
        dist: `(manifold, x, y) -> (*batch,)`; the norm of the logarithm if not given.
    """

    inner: Callable[[Any, Tensor, Tensor, Tensor], Tensor] = _embedded_inner
    gradient: Callable[[Any, Tensor, Tensor], Tensor] = projected
    coordinates: Callable[[Any, Tensor, Tensor], Tensor] = projected
    inverse_coordinates: Callable[[Any, Tensor, Tensor], Tensor] = projected
    carry: Callable[[Any, Tensor, Tensor, Tensor], Tensor] = _project_to_the_new
    hessian: Callable[[Any, Tensor, Tensor, Tensor, Tensor], Tensor] | None = field(default=None)
    exp: Callable[[Any, Tensor, Tensor], Tensor] | None = field(default=None)
    log: Callable[[Any, Tensor, Tensor], Tensor] | None = field(default=None)
    dist: Callable[[Any, Tensor, Tensor], Tensor] | None = field(default=None)

    @property
    def embedded(self) -> bool:
        """Are gradient and transport both the orthogonal projection, and so made in one?"""
        return self.gradient is projected and self.carry is _project_to_the_new


def keep_coordinates(M: Manifold, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Carry `w` from `x` to `y` by its coordinates, which is an isometry of the metric."""
    # A projection would leave `w` as it is. Where `x` has shrunk, the same matrix is longer, and
    # momentum would grow without bound.
    return M.coordinates(y, M.inverse_coordinates(x, w))
