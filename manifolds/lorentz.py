"""Hyperbolic space as a hyperboloid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    Exp,
    Hyperbolic,
    Manifold,
    Metric,
    MetricRule,
    Projection,
    Retraction,
    RetractionRule,
    guarded,
    require_positive,
)
from torchmanifold.manifolds.linalg import asinhc, cosh_sinhc, in_working_precision

__all__ = ["Lorentz"]


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)


def _flip(u: Tensor) -> Tensor:
    """`u` with the sign of its first entry reversed."""
    return torch.cat([-u[..., :1], u[..., 1:]], dim=-1)


def _form(u: Tensor, v: Tensor) -> Tensor:
    """`<u, v>_L = -u_0 v_0 + u_1 v_1 + ...`."""
    return _dot(u, _flip(v))


def _lifted(M: Lorentz, space: Tensor) -> Tensor:
    """The point above `space`; its first entry is always computed from the others, and so exact."""
    root = 1 / math.sqrt(M.curvature)
    # Dividing by the largest entry first keeps the square of a far point within the dtype.
    largest = (
        space.detach().abs().amax(-1, keepdim=True)
        if space.shape[-1]
        else space.sum(-1, keepdim=True)
    )
    scale = largest.clamp_min(root)
    unit = space / scale
    first = scale * ((root / scale).square() + _dot(unit, unit)).sqrt()
    return torch.cat([first, space], dim=-1)


def _inner(M: Lorentz, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return _form(u, v)[..., 0]


def _along(M: Lorentz, x: Tensor, z: Tensor) -> Tensor:
    """The projection that is orthogonal in the Lorentz form."""
    return z + M.curvature * _form(x, z) * x


def _gradient(M: Lorentz, x: Tensor, egrad: Tensor) -> Tensor:
    return _along(M, x, _flip(egrad))


def _coordinates(M: Lorentz, x: Tensor, v: Tensor) -> Tensor:
    # The frame at the origin, moved to x by parallel transport; v_0 has no effect.
    root = 1 / math.sqrt(M.curvature)
    x0, space, w = x[..., :1], x[..., 1:], v[..., 1:]
    t = _dot(space, w) / (root * (root + x0))
    return torch.cat([t * (root + x0), w + t * space], dim=-1)


def _inverse_coordinates(M: Lorentz, x: Tensor, u: Tensor) -> Tensor:
    root = 1 / math.sqrt(M.curvature)
    x0, space, u0 = x[..., :1], x[..., 1:], u[..., :1]
    return torch.cat([torch.zeros_like(u0), u[..., 1:] - u0 / (root + x0) * space], dim=-1)


def _hessian(M: Lorentz, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return _along(M, x, _flip(ehess)) + M.curvature * _dot(x, egrad) * v


def _exp(M: Lorentz, x: Tensor, v: Tensor) -> Tensor:
    cosh, sinhc = cosh_sinhc(M.curvature * _form(v, v).clamp_min(0))
    return _lifted(M, (cosh * x + sinhc * v)[..., 1:])


def _short_exp(M: Lorentz, x: Tensor, v: Tensor) -> Tensor:
    # The square of the end's first entry stays within the dtype.
    longest = 0.2 * math.log(torch.finfo(x.dtype).max)
    # Division by the largest entry keeps the square from overflowing.
    size = v.detach().abs().amax(-1, keepdim=True).clamp_min(1)
    unit = v / size
    square = M.curvature * _form(unit, unit)
    far = square > (longest / size) ** 2
    shorter = unit * (longest / torch.where(far, square, 1.0).sqrt())
    return _exp(M, x, torch.where(far, shorter, v))


def _chord(M: Lorentz, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`y - x`, and `q = <y - x, y - x>_L` without the cancellation of large entries.

    Let `e` be the difference of the last entries, with the parts `a` along the sum `m` of the last
    entries and `b` across, and let `s` be the sum of the first ones. Then
    `q = |b|^2 + |a|^2 (1 - |m|^2 / s^2)`, where `s^2 - |m|^2 = 4 / c + q`. If `m` is shorter than
    `e`, nothing cancels, and the direction of `m` may be lost.
    """
    space, together = y[..., 1:] - x[..., 1:], x[..., 1:] + y[..., 1:]
    total = x[..., :1] + y[..., :1]
    along = _dot(space, together)
    length, square = _dot(space, space), _dot(together, together)
    far = square > length
    share = torch.where(far, along, 0.0) / torch.where(far, square, 1.0)
    across = space - share * together
    part = share * along / total.square()  # |a|^2 / s^2
    radial = (_dot(across, across) + 4 / M.curvature * part) / (1 - part)
    q = torch.where(far, radial, length - (along / total).square())
    return torch.cat([along / total, space], dim=-1), q.clamp_min(0)


def _log(M: Lorentz, x: Tensor, y: Tensor) -> Tensor:
    e, q = _chord(M, x, y)
    half = M.curvature * q / 4  # sinh(theta / 2)^2
    f = asinhc(half)
    # theta / sinh theta = asinh(s) / (s cosh(theta / 2)), with s = sinh(theta / 2)
    return f / (1 + half).sqrt() * (e - 2 * half * x)


def _dist(M: Lorentz, x: Tensor, y: Tensor) -> Tensor:
    e, q = _chord(M, x, y)
    zero = q <= 0
    chord = torch.where(zero, 0.0, torch.where(zero, 1.0, q).sqrt())
    return (chord * asinhc(M.curvature * q / 4))[..., 0]


def _carry(M: Lorentz, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    # Parallel along the geodesic from x to y.
    return w + _form(y, w) / (1 / M.curvature - _form(x, y)) * (x + y)


def _transport(M: Lorentz, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return _carry(M, x, _exp(M, x, v), w)


def _radius(M: Lorentz, shape: tuple[int, ...]) -> float:
    return math.inf


def _lift(M: Lorentz, x: Tensor, v: Tensor) -> Tensor:
    return _lifted(M, x[..., 1:] + v[..., 1:])


def _inverse_lift(M: Lorentz, x: Tensor, y: Tensor) -> Tensor:
    space = y[..., 1:] - x[..., 1:]
    return torch.cat([_dot(x[..., 1:], space) / x[..., :1], space], dim=-1)


@dataclass(frozen=True)
class Lorentz(Manifold):
    """Hyperbolic space of curvature `-c` as a hyperboloid, `(*batch, n + 1)`.

    Points satisfy `<x, x>_L = -1/c` and `x_0 > 0`, with `<u, v>_L = -u_0 v_0 + u_1 v_1 + ...`. The
    form is the metric on tangent vectors, `<x, v>_L = 0`. `Exp` follows geodesics; as a retraction
    it goes a distance of at most `log(max) / 5` with the largest number of the dtype (17 in
    float32). `Projection` adds `v` to the last `n` entries, for `v` of any length.

    In float32 and with `c = 1` a distance of 1 between points at a distance of 2 from the origin
    has a relative error of 3e-7; at 4 it is 2e-6, at 6 1e-5, at 8 1e-4, at 10 1e-3 and at 14 4e-2,
    as in the ball, because the coordinates are rounded. Use float64 farther out. The residual is
    `|<x, x>_L + 1/c| / x_0^2`.

    Args:
        curvature: `c`, positive.

    Source: Nickel & Kiela, Learning continuous hierarchies in the Lorentz model of hyperbolic
    geometry, ICML 2018.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Lorentz()
        >>> M.dist(M.project(torch.zeros(3)), M.project(torch.tensor([0.0, 1.0, 0.0])))
        tensor(0.8814)
    """

    curvature: float = 1.0
    metric: Metric = Hyperbolic()
    retraction: Retraction = Exp()

    event_ndim: ClassVar[int] = 1
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        Hyperbolic: MetricRule(
            inner=_inner,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            carry=_carry,
            hessian=_hessian,
            exp=_exp,
            log=_log,
            dist=_dist,
            parallel_transport=_transport,
            injectivity_radius=_radius,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(_short_exp, {Hyperbolic: 2}, _log),
        Projection: RetractionRule(_lift, {Hyperbolic: 1}, _inverse_lift),
    }

    def __post_init__(self) -> None:
        """Refuse a curvature that is not positive."""
        require_positive("Lorentz", "curvature", self.curvature)
        super().__post_init__()

    def residual(self, x: Tensor) -> Tensor:
        """`|<x, x>_L + 1/c| / x_0^2`, plus 1 if `x` is on the other sheet."""
        wide = x.to(torch.float64)
        first = wide[..., :1]
        root = 1 / math.sqrt(self.curvature)
        size = first.abs().clamp_min(root)
        unit = wide / size  # divided first, so that no square overflows
        off = _form(unit, unit) + (root / size).square()
        return (off.abs() + (first < 0))[..., 0]

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The point with the last `n` entries of `z`; the nearest point has no closed form."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return _lifted(self, z[..., 1:])

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - n n'z / n'n` with `n = (-x_0, x_1, ...)`, orthogonal in the Frobenius product."""
        n = _flip(x)
        return z - _dot(n, z) / _dot(n, n) * n

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The exponential at the origin of `z / sqrt(c n)`, without its first entry."""
        size = max(z.shape[-1] - 1, 1) * self.curvature
        origin = _lifted(self, torch.zeros_like(z[..., 1:]))
        v = torch.cat([torch.zeros_like(z[..., :1]), z[..., 1:] / math.sqrt(size)], dim=-1)
        return _exp(self, origin, v)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a number and a vector without entries."""
        if len(shape) < 1 or shape[-1] < 1:
            raise ValueError(
                f"Lorentz: a point is a vector of n + 1 entries, got the shape {tuple(shape)}"
            )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n`, one less than the number of entries."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1] - 1
