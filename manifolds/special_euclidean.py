"""The special Euclidean group: rigid motions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    GROUP_METRIC,
    EuclideanMetric,
    Exp,
    Manifold,
    Metric,
    MetricRule,
    Polar,
    Retraction,
    RetractionRule,
    Screw,
    guarded,
    polar,
    require_square,
)
from torchmanifold.manifolds.linalg import (
    determinant_sign,
    gram_residual,
    in_working_precision,
    skew,
    sym,
)
from torchmanifold.manifolds.maps.steps import bounded_turn

__all__ = ["SpecialEuclidean"]


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """The rotation and the translation, or their velocities."""
    return x[..., :-1, :-1], x[..., :-1, -1:]


def _joined(rotation: Tensor, translation: Tensor, last: float) -> Tensor:
    """`[[rotation, translation], [0, last]]`."""
    rotation, translation = _broadcast(rotation, translation)
    top = torch.cat([rotation, translation], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., -1] = last
    return torch.cat([top, bottom], -2)


def _broadcast(rotation: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
    batch = torch.broadcast_shapes(rotation.shape[:-2], translation.shape[:-2])
    return (
        rotation.expand(*batch, *rotation.shape[-2:]),
        translation.expand(*batch, *translation.shape[-2:]),
    )


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    r, _ = _parts(x)
    a, t = _parts(v)
    return _joined(r @ skew(a), t, 0.0)


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    r, _ = _parts(x)
    a, t = _parts(u)
    return _joined(r.mT @ a, t, 0.0)


def _weingarten(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    (r, _), (a, t), (b, _) = _parts(x), _parts(v), _parts(w)
    return M.tangent(x, _joined(-a @ sym(r.mT @ b), torch.zeros_like(t), 0.0))


# The left-invariant metric <omega, omega> + <v, v> is that of the product of rotations and
# translations, so rotation and translation follow their own geodesics.
def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    assert GROUP_METRIC.exp is not None
    (r, p), (a, t) = _parts(x), _parts(v)
    return _joined(GROUP_METRIC.exp(M, r, a), p + t, 1.0)


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    assert GROUP_METRIC.log is not None
    (r, p), (s, q) = _parts(x), _parts(y)
    return _joined(GROUP_METRIC.log(M, r, s), q - p, 0.0)


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    assert GROUP_METRIC.dist is not None
    (r, p), (s, q) = _parts(x), _parts(y)
    angle, way = GROUP_METRIC.dist(M, r, s), torch.linalg.vector_norm(q - p, dim=(-2, -1))
    return torch.linalg.vector_norm(torch.stack(torch.broadcast_tensors(angle, way)), dim=0)


def _transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    assert GROUP_METRIC.parallel_transport is not None
    (r, _), (a, _), (b, t) = _parts(x), _parts(v), _parts(w)
    return _joined(GROUP_METRIC.parallel_transport(M, r, a, b), t, 0.0)


def _radius(M: Manifold, shape: tuple[int, ...]) -> float:
    assert GROUP_METRIC.injectivity_radius is not None
    return GROUP_METRIC.injectivity_radius(M, (shape[-2] - 1, shape[-1] - 1))


def _polar(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    (r, p), (a, t) = _parts(x), _parts(v)
    return _joined(polar(M, r, a), p + t, 1.0)


def _screw(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """`x exp(x^-1 v)`: the exponential of the group, of a matrix with a zero last row."""
    (r, p), (a, t) = _parts(x), _parts(v)
    turn = skew(bounded_turn(r.mT @ a))
    # The value is linear in the translation, whose size must not cost digits of the exponential.
    size = t.detach().abs().amax((-2, -1), keepdim=True).clamp_min(1)
    twist = _joined(turn, r.mT @ (t / size), 0.0)
    _, moved = _parts(maps.expm(twist))
    assert GROUP_METRIC.exp is not None
    return _joined(GROUP_METRIC.exp(M, r, a), p + r @ moved * size, 1.0)


@dataclass(frozen=True)
class SpecialEuclidean(Manifold):
    r"""Rigid motions of n-space as matrices `[[R, p], [0, 1]]`, shape `(*batch, n + 1, n + 1)`.

    `R` is a rotation and `p` a translation; the matrix times `(q, 1)` is the moved point. The
    left-invariant metric `<omega, omega> + <v, v>` is that of the product of the two, so `Exp`
    rotates and translates independently. `Screw` is the exponential of the group, a motion along a
    screw, and a retraction of first order.

    The residual is `||R'R - I||_F`, plus 2 if the determinant is negative, plus the distance of
    the last row from `(0, ..., 0, 1)`. The logarithm exists up to a half turn.

    Source: Selig, Geometric Fundamentals of Robotics (2005), chapter 4; Park, Distance metrics on
    the rigid-body motions, J. Mech. Design 117 (1995).

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.SpecialEuclidean()
        >>> x, y = M.random(2, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> bool((M.exp(x, M.log(x, y)) - y).abs().max() < 1e-5)
        True
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Exp()

    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            weingarten=_weingarten,
            exp=_exp,
            log=_log,
            dist=_dist,
            parallel_transport=_transport,
            injectivity_radius=_radius,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(_exp, {EuclideanMetric: 2}, _log),
        Polar: RetractionRule(_polar, {EuclideanMetric: 2}),
        Screw: RetractionRule(_screw, {EuclideanMetric: 1}),
    }

    def residual(self, x: Tensor) -> Tensor:
        """The sum of the residuals of the rotation, of its determinant, and of the last row."""
        self.check_dtype(x.dtype)
        r, _ = _parts(x)
        sign = determinant_sign(r.detach().to(torch.float64))
        row = x[..., -1, :].to(torch.float64).clone()
        row[..., -1] = row[..., -1] - 1
        return gram_residual(r) + 2 * (sign < 0) + torch.linalg.vector_norm(row, dim=-1)

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The nearest rotation, the translation, and the last row."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        a, t = _parts(z)
        return _joined(maps.nearest_rotation(a), t, 1.0)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`[[R skew(R'a), t], [0, 0]]` of `z = [[a, t], [., .]]`."""
        r, _ = _parts(x)
        a, t = _parts(z)
        return _joined(r @ skew(r.mT @ a), t, 0.0)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """A uniform rotation and a standard normal translation."""
        a, t = _parts(z)
        q = maps.qr(a)
        sign = determinant_sign(q)[..., None, None]
        return _joined(torch.cat([q[..., :-1], q[..., -1:] * sign], -1), t, 1.0)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square, or has no rotation."""
        require_square("SpecialEuclidean", shape, "; a motion of n-space has the side n + 1")
        if shape[-1] < 2:
            raise ValueError(f"SpecialEuclidean: the side is n + 1, at least 2; got {shape[-1]}")

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (n + 1) / 2`."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        n = shape[-1] - 1
        return n * (n + 1) // 2
