"""The Grassmann manifold: subspaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
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
    canonical_exp,
    guarded,
    is_complex,
    nearest_orthonormal,
    newton_schulz,
    newton_schulz_residual,
    polar,
    weingarten,
)
from torchmanifold.manifolds.linalg import (
    arctanc,
    cos_sinc,
    gram_residual,
    in_working_precision,
    inner,
    inverse,
    polynomial,
    svd,
)

__all__ = ["Grassmann"]


def _arctan_ratio_slope(t: Tensor) -> Tensor:
    small = t < 1e-2
    r = torch.where(small, 1.0, t)
    series = polynomial(t, tuple((-1) ** k * k / (2 * k + 1) for k in range(1, 9)))
    return torch.where(small, series, (1 / (1 + r) - arctanc(r)) / (2 * r))


def _sinc(t: Tensor) -> Tensor:
    """`sin(r) / r` for `r = sqrt(t)`."""
    return cos_sinc(t)[1]


def _sinc_slope(t: Tensor) -> Tensor:
    small = t < 1
    far = torch.where(small, 1.0, t)
    cosine, sinc = cos_sinc(far)
    near = torch.where(small, t, 0.0)
    series = tuple((-1) ** k * -(k + 1) / math.factorial(2 * k + 3) for k in range(9))
    return torch.where(small, polynomial(near, series), (cosine - sinc) / (2 * far))


def _versine(t: Tensor) -> Tensor:
    """`(1 - cos(r)) / r^2` for `r = sqrt(t)`."""
    return _sinc(t / 4).square() / 2


def _versine_slope(t: Tensor) -> Tensor:
    return _sinc(t / 4) * _sinc_slope(t / 4) / 4


def _normal(x: Tensor, z: Tensor) -> Tensor:
    """The part of `z` that is orthogonal to the span of `x`."""
    return z - x @ (x.mH @ z)


def _inverse_polar(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """The horizontal `v` such that `x + v` spans the same as `y`: tangents of principal angles."""
    return _normal(x, y @ inverse(x.mH @ y))


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    # The tangents t = U tan(angles) V' replace their SVD, so repeated and vanishing angles need no
    # care, and the derivative is finite there.
    t = _inverse_polar(M, x, y)
    return t @ maps.spectral(t.mH @ t, arctanc, _arctan_ratio_slope)


def _parallel_transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    # Edelman, Arias & Smith 1998, theorem 2.4, with functions of `v'v` in place of the SVD of `v`.
    t, along = v.mH @ v, v.mH @ w
    turned = x @ maps.spectral(t, _sinc, _sinc_slope) + v @ maps.spectral(
        t, _versine, _versine_slope
    )
    return w - turned @ along


def _radius(M: Manifold, shape: tuple[int, ...]) -> float:
    """`pi / 2`: one principal angle is right; a single point if the subspace is everything."""
    return math.pi / 2 if shape[-1] < shape[-2] else math.inf


# An angle counts as a right angle if its cosine is below this number.
_RIGHT = 0.02


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """The norm of the principal angles, accurate for small and right ones; derivative of `log`."""
    with torch.no_grad():
        sines = torch.linalg.svdvals(_normal(x, y))
        cosines = torch.linalg.svdvals(x.mH @ y).flip(-1)  # the smallest beside the largest sine
        angles = torch.linalg.vector_norm(torch.atan2(sines, cosines), dim=-1)
    if not (torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)):
        return angles
    # Near a right angle the logarithm is not unique. The principal angles still have a derivative
    # there, `-u'(dM)v / sin` with the singular vectors `u` and `v` of `M = x'y`.
    with torch.no_grad():
        u, cosines, vh = svd(x.mH @ y)
        cosines = cosines.clamp_max(1)
        theta = torch.acos(cosines)
        weights = theta / torch.where(theta > 0, theta.sin(), 1.0)
        pull = (u * weights.unsqueeze(-2)) @ vh
        right = (cosines < _RIGHT).any(-1)
    first = -inner(pull, x.mH @ y) / torch.where(right, angles, 1.0)
    near = right[..., None, None]
    distance = M.norm(x, _log(M, x, torch.where(near, x, y)))
    distance = torch.where(right, first, distance)
    return distance + (angles - distance).detach()


@dataclass(frozen=True)
class Grassmann(Manifold):
    r"""Subspaces of dimension `p` of n-space, each held as an orthonormal basis `(*batch, n, p)`.

    `x` and `x q` with orthogonal `q` are the same point, so a loss must not depend on the basis:
    `f(x q) = f(x)`. Tangent vectors are the horizontal ones, `x'v = 0`, in the Frobenius inner
    product; they rotate the subspace, and not the basis in it. All retractions keep the basis
    aligned with that of `x`, as parallel transport does.

    The residual is `||x'x - I||_F`. The distance is the norm of the principal angles. The
    logarithm is unique if all principal angles are below a right angle.

    Source: Edelman, Arias & Smith 1998, section 2.5; Bendokat, Zimmermann & Absil, A Grassmann
    manifold handbook, Adv. Comput. Math. 50, 2024.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Grassmann()
        >>> x, y = torch.eye(3)[:, :2], torch.eye(3)[:, [2, 1]]
        >>> M.dist(x, y)
        tensor(1.5708)
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Polar()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(
            weingarten=weingarten,
            # The geodesic of Edelman, Arias & Smith 1998, theorem 2.3, is the canonical geodesic of
            # Stiefel in a horizontal direction.
            exp=canonical_exp,
            log=_log,
            dist=_dist,
            parallel_transport=_parallel_transport,
            injectivity_radius=_radius,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Polar: RetractionRule(polar, {EuclideanMetric: 2}, _inverse_polar),
        Exp: RetractionRule(canonical_exp, {EuclideanMetric: 2}, _log),
        Cayley: RetractionRule(canonical_cayley, {EuclideanMetric: 2}),
        NewtonSchulz: RetractionRule(
            newton_schulz, {EuclideanMetric: 2}, residual=newton_schulz_residual
        ),
    }

    def residual(self, x: Tensor) -> Tensor:
        """`||x'x - I||_F`, evaluated in float64."""
        return gram_residual(x)

    def project(self, z: Tensor) -> Tensor:
        """The polar factor of `z`: the nearest basis of the subspace that `z` spans."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return nearest_orthonormal(z)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - x x'z`."""
        return _normal(x, z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """A uniform subspace: the span of a standard normal matrix."""
        return maps.qr(z)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a wide or square matrix."""
        if len(shape) < 2 or shape[-2] <= shape[-1]:
            raise ValueError(
                f"Grassmann: a point is a basis of fewer columns than rows, got the shape "
                f"{tuple(shape)}; a wide matrix is a point of Transposed(Grassmann())"
            )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`p (n - p)`, and twice as many for complex matrices."""
        self.check_shape(shape)
        n, p = shape[-2:]
        return p * (n - p) * (2 if is_complex(dtype) else 1)
