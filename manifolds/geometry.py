"""Retractions and metrics as values, and the rows of the tables that manifolds keep of them.

A retraction or metric is a small frozen value that is passed to a manifold, as in
`Stiefel(metric=Canonical(), retraction=Cayley())`. What a value *does* on a manifold is a row
(`RetractionRule`, `MetricRule`) in a table in that manifold's own file.

Reference: P.-A. Absil, R. Mahony, R. Sepulchre, Optimization Algorithms on Matrix Manifolds,
Princeton 2008, chapters 3 (metrics) and 4 (retractions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from torchmanifold.manifolds.manifold import Manifold

__all__ = [
    "QR",
    "AffineInvariant",
    "BuresWasserstein",
    "Canonical",
    "Cayley",
    "EuclideanMetric",
    "Exp",
    "LogEuclidean",
    "Metric",
    "MetricRule",
    "NewtonSchulz",
    "Polar",
    "Projection",
    "Quadratic",
    "Retraction",
    "RetractionRule",
    "projected",
]


@dataclass(frozen=True)
class Retraction:
    """A smooth map `v -> R_x(v)` onto the manifold with `R_x(0) = x` and `dR_x(0) = id`."""


@dataclass(frozen=True)
class Exp(Retraction):
    """The geodesic that leaves `x` with velocity `v`, in the manifold's metric."""


@dataclass(frozen=True)
class Cayley(Retraction):
    """The Cayley transform of the tangent vector's generator (Wen & Yin 2013)."""


@dataclass(frozen=True)
class Polar(Retraction):
    """The polar factor of `x + v`: the nearest matrix with orthonormal columns."""


@dataclass(frozen=True)
class QR(Retraction):
    """The Q factor of `x + v`, with a positive diagonal in R."""


@dataclass(frozen=True)
class NewtonSchulz(Retraction):
    """`steps` cubic Newton-Schulz steps from `x + v`: products only, approximately feasible.

    With `e` the spectral norm of `v`, one step leaves a residual of about `3 e^4 / 4`, and each
    further one squares it. The iteration would diverge from `e = 1.41` on, so a longer `v` than
    1/2 is shortened to that, on the device: in the norm `||v'v||_F^(1/2)`, which is at least `e`.
    A tangent vector of any length from a point of the manifold so leads to `||x'x - I||_2` of at
    most 0.05 with one step, 0.0016 with two and, but for rounding, 2e-6 with three.

    With one step and `v` short this is the update of POGO (arXiv 2602.14656).
    """

    steps: int = 2

    #: the longest tangent vector that is not shortened
    longest: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        """Refuse a step count that is no positive integer."""
        if not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"NewtonSchulz: steps must be a positive integer, got {self.steps!r}")


@dataclass(frozen=True)
class Projection(Retraction):
    """The point of the manifold that is nearest to `x + v`."""


@dataclass(frozen=True)
class Quadratic(Retraction):
    """`x + v + v x^-1 v / 2` on the positive definite matrices: positive for every `v`."""


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


@dataclass(frozen=True)
class RetractionRule:
    """How one retraction works on one manifold.

    Args:
        retract: `(manifold, x, v) -> y`.
        order: for each metric with which it may be paired, its order of agreement with the
            geodesic: `dist(R_x(t v), exp_x(t v)) = O(t^(order + 1))`.
        inverse: `(manifold, x, y) -> v` with `retract(x, v) = y`, where it has one.
        trivialize: for each metric with which there is a shorter way, `(manifold, x, v) -> y`
            with `y = retract(x, coordinates(x, v))` to rounding.
    """

    retract: Callable[[Any, Tensor, Tensor], Tensor]
    order: Mapping[type[Metric], int]
    inverse: Callable[[Any, Tensor, Tensor], Tensor] | None = None
    trivialize: Mapping[type[Metric], Callable[[Any, Tensor, Tensor], Tensor]] = field(
        default_factory=dict
    )


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
