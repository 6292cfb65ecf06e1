"""The Stiefel manifold: matrices with orthonormal columns."""

from __future__ import annotations

import math
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
    NewtonSchulz,
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
    group_dist,
    group_log,
    guarded,
    implicit_dist,
    implicit_log,
    is_complex,
    nearest_orthonormal,
    newton_schulz,
    newton_schulz_residual,
    polar,
    qr,
    square_steepest,
    weingarten,
)
from torchmanifold.manifolds.linalg import (
    add_product,
    gram_residual,
    in_working_precision,
    polish,
    product_in,
    skew,
    sym,
)
from torchmanifold.manifolds.maps.steps import bounded_along

__all__ = ["Stiefel"]


def _embedded_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    # Zimmermann & Hueper 2022 with beta = 1: a canonical geodesic with twice the rotation of the
    # columns, and a rotation back. Both factors are orthogonal, however long v is; the factors of
    # Edelman, Arias & Smith 1998, eq. (2.17), are not.
    v = bounded_along(x, v)
    a = skew(x.mH @ v)
    y = maps.exp_thin(x, v + x @ a)
    return polish(y + y @ maps.expm1_skew(-a))


def _steepest(M: Manifold, x: Tensor, egrad: Tensor, dtype: torch.dtype | None) -> Tensor:
    if x.shape[-2] == x.shape[-1]:
        return square_steepest(M, x, egrad, dtype)
    # The projected matrix has norm 1 here, so its tangent part may be rounded. The tangent part of
    # a gradient may not, because the normal part can be large.
    d = maps.polar_direction(M.gradient(x, egrad), dtype=dtype)
    return d - product_in(dtype, x, sym(product_in(dtype, x.mH, d)))


def _radius(M: Manifold, shape: tuple[int, ...]) -> float:
    # Zimmermann & Stoye, The injectivity radius of the compact Stiefel manifold under the Euclidean
    # metric, 2024. A square point only turns, and a plane turns in two columns.
    n, p = shape[-2:]
    return math.pi if p < n else math.sqrt(2) * math.pi if n > 1 else math.inf


def _canonical_radius(M: Manifold, shape: tuple[int, ...]) -> float:
    # Rentmeesters, Algorithms for data fitting on some common homogeneous spaces, 2013: a lower
    # bound from the sectional curvature, at most 5/4. The radius itself is about 0.91 pi (Absil &
    # Mataigne, The ultimate upper bound on the injectivity radius of the Stiefel manifold, 2024).
    n, p = shape[-2:]
    return math.sqrt(4 / 5) * math.pi if 1 < p < n else math.pi if n > 1 else math.inf


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    if x.shape[-2] == x.shape[-1]:  # a group, on which both metrics have the same geodesics
        return group_log(M, x, y)
    euclidean = isinstance(M.metric, EuclideanMetric)
    return implicit_log(M, maps.log_euclidean if euclidean else maps.log_canonical, x, y)


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    if x.shape[-2] == x.shape[-1]:
        angle = group_dist(M, x, y)
        return angle if isinstance(M.metric, EuclideanMetric) else angle / math.sqrt(2)
    return implicit_dist(M, x, y)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return M.exp(x, v)


def _projected_qr(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return maps.projected_qr_step(x, v)


@dataclass(frozen=True)
class Stiefel(Manifold):
    r"""Matrices with orthonormal columns, `x'x = I`, of shape `(*batch, n, p)` with `n >= p`.

    A square point may have determinant 1 or -1 (or any phase, if complex), and steps keep the sign.
    A wide matrix with orthonormal rows is a point of `Transposed(Stiefel())`.

    Logarithms and distances are found by iterations, to rounding. They are sure within the
    injectivity radius, which for real matrices is `pi` in the Euclidean metric and about `0.91 pi`
    in the canonical one. Further away the geodesic may not be the shortest. Where the iteration
    ends without one, the result is NaN. A logarithm has one derivative, a distance two.

    `injectivity_radius` is a proven bound for real matrices. That of complex ones is not larger
    than a half turn of the phase of one column: `pi` in the Euclidean metric, `pi / sqrt(2)` in the
    canonical one.

    The residual is `||x'x - I||_F`. Tangent vectors satisfy `sym(x'v) = 0`. The gradient is
    `g - x sym(x'g)` in the Euclidean metric and `g - x g'x` in the canonical one.

    Source: Edelman, Arias & Smith, The geometry of algorithms with orthogonality constraints,
    SIAM J. Matrix Anal. Appl. 20, 1998; Zimmermann & Hueper, Computing the Riemannian logarithm on
    the Stiefel manifold, SIAM J. Matrix Anal. Appl. 43, 2022, for the Euclidean geodesic; Wen & Yin
    2013 for the Cayley retraction.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley())
        >>> x = M.random(50, 3, generator=torch.Generator().manual_seed(0))
        >>> y = M.retract(x, M.random_tangent(x))
        >>> bool(M.residual(y) < 1e-5)
        True
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = QR()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    orthonormal: ClassVar[bool] = True
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(
            steepest=guarded(_steepest),
            weingarten=weingarten,
            exp=_embedded_exp,
            log=_log,
            dist=_dist,
            injectivity_radius=_radius,
        ),
        Canonical: MetricRule(
            inner=canonical_inner,
            gradient=canonical_gradient,
            steepest=guarded(_steepest),
            coordinates=canonical_coordinates,
            inverse_coordinates=canonical_inverse_coordinates,
            hessian=canonical_hessian,
            exp=canonical_exp,
            log=_log,
            dist=_dist,
            injectivity_radius=_canonical_radius,
        ),
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        QR: RetractionRule(
            qr, {EuclideanMetric: 1, Canonical: 1}, trivialize={EuclideanMetric: _projected_qr}
        ),
        Polar: RetractionRule(polar, {EuclideanMetric: 2, Canonical: 1}),
        # These two use only the tangent part of a tensor.
        Cayley: RetractionRule(
            canonical_cayley,
            {EuclideanMetric: 1, Canonical: 2},
            trivialize={EuclideanMetric: canonical_cayley},
        ),
        Exp: RetractionRule(
            _exp, {EuclideanMetric: 2, Canonical: 2}, _log, trivialize={EuclideanMetric: _exp}
        ),
        NewtonSchulz: RetractionRule(
            newton_schulz, {EuclideanMetric: 2, Canonical: 1}, residual=newton_schulz_residual
        ),
    }

    def residual(self, x: Tensor) -> Tensor:
        """`||x'x - I||_F`, evaluated in float64."""
        return gram_residual(x)

    def project(self, z: Tensor) -> Tensor:
        """The polar factor of `z`: the nearest point, or one of several if `z` lacks full rank."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return nearest_orthonormal(z)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - x sym(x'z)`."""
        s = x.mH @ z
        return add_product(z, x, s + s.mH, alpha=-0.5)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform: the Q factor, with positive diagonal in R, of a standard normal matrix.

        Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007.
        """
        return maps.qr(z)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a wide matrix."""
        if len(shape) < 2 or shape[-2] < shape[-1]:
            raise ValueError(
                f"Stiefel: a point has at least as many rows as columns, got the shape "
                f"{tuple(shape)}; a wide matrix is a point of Transposed(Stiefel())"
            )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n p - p (p + 1) / 2`, and `2 n p - p^2` for complex matrices."""
        self.check_shape(shape)
        n, p = shape[-2:]
        return 2 * n * p - p * p if is_complex(dtype) else n * p - p * (p + 1) // 2
