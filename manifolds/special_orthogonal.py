"""The special orthogonal group: rotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    QR,
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
    guarded,
    newton_schulz,
    newton_schulz_residual,
    polar,
    qr,
    require_square,
    square_steepest,
    weingarten,
)
from torchmanifold.manifolds.linalg import (
    determinant_sign,
    eye_like,
    gram_residual,
    in_working_precision,
    polish,
    skew,
    sym,
)

__all__ = ["SpecialOrthogonal"]


# A group action adds the change to the point and ends in one Newton-Schulz step: without the
# first its rounding is that of a product, without the second 4000 steps drift to 900 eps. A
# trivialization makes one step from its base, which its coordinates in the Lie algebra name
# without a product, and needs no polish.
def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return x @ skew(v)


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return x.mH @ u


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return polish(_trivialize_exp(M, x, x.mH @ v))


def _trivialize_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return maps.exp_step(x, v)


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    q = x.mH @ y
    # At an angle of pi the logarithm is not unique: NaN, not one of them by chance.
    gap = torch.linalg.svdvals(eye_like(q) + q.detach())[..., -1:].sum(-1)
    cut = gap <= torch.finfo(q.dtype).eps ** 0.5
    return torch.where(cut[..., None, None], torch.nan, x @ maps.log_orthogonal(q))


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """The norm of the angles, which are defined at pi too; derivative as of the logarithm."""
    q = x.mH @ y
    with torch.no_grad():
        cosines, w = torch.linalg.eigh(sym(q))
        sines = torch.linalg.vector_norm(skew(q) @ w, dim=-2)
        angles = torch.linalg.vector_norm(torch.atan2(sines, cosines), dim=-1)
    if not (torch.is_grad_enabled() and q.requires_grad):
        return angles
    distance = M.norm(x, x @ maps.log_orthogonal(q))
    return distance + (angles - distance).detach()


def _cayley(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return polish(maps.cayley_step(x, x.mH @ v))


def _trivialize_cayley(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return maps.cayley_step(x, v)


def _inverse_cayley(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return x @ maps.inverse_cayley(x.mH @ y)


def _flip(x: Tensor, sign: Tensor) -> Tensor:
    """Multiply the last column by `sign`."""
    return torch.cat([x[..., :-1], x[..., -1:] * sign[..., None, None]], dim=-1)


def _require_real(x: Tensor) -> None:
    if x.is_complex():
        raise TypeError(
            f"SpecialOrthogonal: rotations are real, got {x.dtype}; unitary matrices are points of "
            f"Stiefel()"
        )


@dataclass(frozen=True)
class SpecialOrthogonal(Manifold):
    """Rotations of n-space: `x'x = I` and `det x = 1`, shape `(*batch, n, n)`, real.

    The residual is `||x'x - I||_F`, plus 2 (the distance between the two components of the
    orthogonal group) where the determinant is negative. Tangent vectors are `x a` with `a`
    skew-symmetric. `Exp` is `x expm(x'v)`. Orthogonal matrices of determinant -1 are points of
    `Stiefel()`.

    Source: Edelman, Arias & Smith 1998, section 2.2; Absil, Mahony & Sepulchre 2008, 3.3.2.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.SpecialOrthogonal()
        >>> x = M.random(4, 4, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.linalg.det(M.retract(x, M.random_tangent(x))) > 0)
        True
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Cayley()

    event_ndim: ClassVar[int] = 2
    orthonormal: ClassVar[bool] = True
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(
            steepest=guarded(square_steepest),
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            weingarten=weingarten,
            exp=_exp,
            log=_log,
            dist=_dist,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Cayley: RetractionRule(
            _cayley,
            {EuclideanMetric: 2},
            _inverse_cayley,
            trivialize={EuclideanMetric: _trivialize_cayley},
        ),
        Exp: RetractionRule(
            _exp, {EuclideanMetric: 2}, _log, trivialize={EuclideanMetric: _trivialize_exp}
        ),
        Polar: RetractionRule(polar, {EuclideanMetric: 2}),
        QR: RetractionRule(qr, {EuclideanMetric: 1}),
        NewtonSchulz: RetractionRule(
            newton_schulz, {EuclideanMetric: 2}, residual=newton_schulz_residual
        ),
    }

    def residual(self, x: Tensor) -> Tensor:
        """`||x'x - I||_F`, plus 2 where the determinant is not positive."""
        _require_real(x)
        sign = determinant_sign(x.detach().to(torch.float64))
        return gram_residual(x) + 2 * (sign < 0)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The nearest rotation: the polar factor, its smallest direction turned if need be.

        Source: Kabsch 1976; Umeyama 1991.
        """
        self.check_shape(tuple(z.shape))
        _require_real(z)
        return maps.nearest_rotation(z)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`x skew(x'z)`."""
        return x @ skew(x.mH @ z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform (Haar) on the group.

        Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007.
        """
        q = maps.qr(z)
        return _flip(q, determinant_sign(q))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what is not square."""
        require_square(
            "SpecialOrthogonal", shape, "; matrices of another shape may be points of Stiefel()"
        )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (n - 1) / 2`."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1] * (shape[-1] - 1) // 2
