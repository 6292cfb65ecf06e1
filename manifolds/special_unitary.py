"""The special unitary group."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
    Retraction,
    RetractionRule,
    guarded,
    require_square,
)
from torchmanifold.manifolds.linalg import (
    MatrixFunction,
    determinant_sign,
    eigh,
    eye_like,
    gram_residual,
    in_working_precision,
    inverse,
    narrow,
    newton_schulz_step,
    polish,
    skew,
    svd,
    sym,
    trace,
    wide,
)

__all__ = ["SpecialUnitary"]

ROUNDINGS = 16  # roundings of an angle, within which of the cut locus the logarithm is NaN
BISECTIONS = 55  # bisections of the angles up to pi, which reach the rounding of float64


def _traceless(a: Tensor) -> Tensor:
    return a - (trace(a) / max(a.shape[-1], 1))[..., None, None] * eye_like(a)


def _turned(x: Tensor, angle: Tensor) -> Tensor:
    """`x exp(i angle)`, with one angle for each matrix."""
    return x * torch.polar(torch.ones_like(angle), angle)[..., None, None]


def _phase(x: Tensor) -> Tensor:
    """The argument of the determinant, in `[-pi, pi]`; without derivative."""
    return determinant_sign(x.detach()).angle()


def _unit_determinant(x: Tensor) -> Tensor:
    """`x`, divided by the n-th root of the phase of its determinant.

    It differentiates as the identity, because here the determinant of `x` is 1 up to rounding.
    """
    return _turned(x, -_phase(x) / max(x.shape[-1], 1))


def _least_angles(s: Tensor, total: Tensor) -> Tensor:
    """The angles `a` that add up to `total`, with the largest `sum s cos(a)`.

    At the maximum all `s_k sin(a_k)` are the same number. All cosines are positive, except perhaps
    that of the least `s`; its angle `t` is the first zero of an increasing function.

    Args:
        s: `(*batch, n)`, not negative, decreasing.
        total: `(*batch,)`, in `[-pi, pi]`.
    """
    if not s.shape[-1]:
        return s
    ratio = torch.where(s > 0, s[..., -1:] / s, 1.0)[..., :-1]

    def angles(t: Tensor) -> Tensor:
        return torch.cat([(ratio * t.sin()).clamp_max(1.0).asin(), t], -1)

    goal = total.abs()[..., None]
    low, high = torch.zeros_like(goal), torch.full_like(goal, math.pi)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = angles(middle).sum(-1, keepdim=True) < goal
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return angles(high) * total.sign()[..., None]


class _Nearest(MatrixFunction):
    """The nearest matrix `q` with `q*q = I` and `det q = 1`, with its derivative in `z`.

    `z = q (h - i m I)` with a Hermitian `h` and a real `m`. So `q*dq` is the trace-free solution
    `w` of `w h + h w = 2 skew(q*dz) + 2i dm I`, and the derivative is self-adjoint.
    """

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        u, s, vh = svd(wide(z))
        angle = _least_angles(s, -_phase(u @ vh))
        q = newton_schulz_step((u * torch.polar(torch.ones_like(angle), angle)[..., None, :]) @ vh)
        return narrow(_unit_determinant(q), z.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        z, _ = ctx.saved_tensors
        q = _Nearest.apply(z) if torch.is_grad_enabled() else ctx.saved_tensors[1]
        h = sym(q.mH @ z)
        w = maps.solve_lyapunov(h, 2 * skew(q.mH @ grad))
        scalar = inverse(h)
        return q @ (w - (trace(w) / trace(scalar))[..., None, None] * scalar)


def _angles(q: Tensor) -> Tensor:
    """The angles of the shortest `a` with `exp(a) = q` and trace 0, `(*batch, n)`, decreasing.

    The eigenvalues of `q` determine the angles up to multiples of `2 pi`, and the angles in
    `[-pi, pi]` add up to `2 pi k`. The shortest angles with the sum 0 follow if the `k` largest are
    reduced by one turn (if `k` is negative, the least are raised by one turn).
    """
    n = q.shape[-1]
    bad = ~torch.isfinite(q).all(-1).all(-1)[..., None]
    values = torch.linalg.eigvals(torch.where(bad[..., None], eye_like(q), q))
    angles = values.angle().sort(-1, descending=True).values
    turns = (angles.sum(-1, keepdim=True) / (2 * math.pi)).round()
    place = torch.arange(n, device=q.device)
    angles = angles - 2 * math.pi * ((place < turns).double() - (place >= n + turns).double())
    return angles.sort(-1, descending=True).values.masked_fill(bad, torch.nan)


def _between(x: Tensor, y: Tensor) -> Tensor:
    """`x*y` in complex128: near the cut locus the logarithm amplifies rounding errors."""
    return polish(wide(x).mH @ wide(y))


def _middle(angles: Tensor) -> Tensor:
    return (angles[..., 0] + angles[..., -1]) / 2 if angles.shape[-1] else angles.sum(-1)


def _logarithm(q: Tensor, angles: Tensor) -> Tensor:
    # After a rotation by the middle of its angles it is a principal logarithm, as long as they span
    # less than 2 pi; the middle does not affect the value.
    middle = _middle(angles)
    a = maps.log_orthogonal(_turned(q, -middle))
    return _traceless(a + 1j * middle[..., None, None] * eye_like(a))


# The rounding errors of a long step have a trace, and those of many steps add up, so the
# determinant is corrected after each step.
def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return _unit_determinant(polish(maps.exp_step(x, _traceless(x.mH @ v))))


def _trivialize_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return _unit_determinant(maps.exp_step(x, _traceless(v)))


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    q = _between(x, y)
    angles = _angles(q.detach())
    spread = angles[..., :1] - angles[..., -1:]
    # At a spread of 2 pi the logarithm is not unique, so it is NaN and not an arbitrary one.
    cut = (2 * math.pi - spread <= 2 * ROUNDINGS * torch.finfo(x.dtype).eps).any(-1)
    v = wide(x) @ _logarithm(q, angles)
    return narrow(torch.where(cut[..., None, None], torch.nan, v), x.dtype)


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """The norm of the angles, which exist at the cut locus too."""
    q = _between(x, y)
    angles = _angles(q.detach())
    distance = torch.linalg.vector_norm(angles, dim=-1)
    if torch.is_grad_enabled() and q.requires_grad:
        derived = torch.linalg.matrix_norm(_logarithm(q, angles))
        distance = derived + (distance - derived).detach()
    return narrow(distance, x.real.dtype)


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return x @ _traceless(skew(v))


def _steepest(M: Manifold, x: Tensor, egrad: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The steepest direction in the spectral norm: `x i h` with a Hermitian `h` of trace 0.

    `h` has the eigenvectors of `x*grad / i`, the eigenvalues 1 for the upper half of its
    eigenvalues, -1 for the lower half, and 0 for the one in the middle, if there is one.
    """
    values, w = eigh(-1j * _traceless(skew(x.mH @ egrad)))
    n = x.shape[-1]
    signs = (2 * torch.arange(n, device=x.device) - (n - 1)).sign()
    signs = torch.where(values[..., -1:] > values[..., :1], signs, 0)  # none of a zero gradient
    return x @ (1j * (w * signs[..., None, :]) @ w.mH)


@dataclass(frozen=True)
class SpecialUnitary(Manifold):
    """Unitary matrices of determinant 1: `x*x = I`, `det x = 1`, `(*batch, n, n)`, complex.

    The residual is `||x*x - I||_F + |arg det x| / sqrt(n)`, the second term being the distance of a
    unitary matrix to the group to first order. Tangent vectors are `x a` with `a` skew-Hermitian
    of trace 0; their inner product is the real part of the Frobenius one, and the group has
    `n^2 - 1` real dimensions. `Exp` is `x expm(x*v)`; other retractions of the unitary group lead
    out of this one.

    The logarithm is the shortest `v` with trace 0. It is not the principal logarithm of `x*y` if
    the angles of the latter add up to a turn or more. It is unique as long as its angles span less
    than `2 pi`, and NaN if they span `2 pi`.

    Source: Hall, Lie Groups, Lie Algebras, and Representations, 2nd ed. 2015, sections 1.2 and
    3.4; Sakai, On cut loci of compact symmetric spaces, Hokkaido Math. J. 6 (1977).

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.SpecialUnitary()
        >>> x = M.random(3, 3, dtype=torch.complex128)
        >>> bool((torch.linalg.det(x) - 1).abs() < 1e-14), M.dim((3, 3))
        (True, 8)
    """

    metric: Metric = EuclideanMetric()
    retraction: Retraction = Exp()

    event_ndim: ClassVar[int] = 2
    numbers: ClassVar[Literal["real", "complex", "either"]] = "complex"
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: dataclasses.replace(
            GROUP_METRIC,
            steepest=guarded(_steepest),
            coordinates=_coordinates,
            exp=_exp,
            log=_log,
            dist=_dist,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(
            _exp, {EuclideanMetric: 2}, _log, trivialize={EuclideanMetric: _trivialize_exp}
        )
    }

    def residual(self, x: Tensor) -> Tensor:
        """`||x*x - I||_F + |arg det x| / sqrt(n)`, evaluated in float64."""
        self.check_dtype(x.dtype)
        return gram_residual(x) + _phase(wide(x)).abs() / max(x.shape[-1], 1) ** 0.5

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The nearest point: the polar factor, with a small rotation of each singular direction.

        The angles `a` of these rotations have a given sum and maximize `sum s cos(a)` for the
        singular values `s`. The derivative is infinite only where the nearest point is not unique.
        """
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        nearest: Tensor = _Nearest.apply(z)
        return nearest

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`x a`, with `a` the traceless skew-Hermitian part of `x*z`."""
        return x @ _traceless(skew(x.mH @ z))

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform (Haar) on the group: a uniform unitary matrix over a root of its determinant.

        Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007.
        """
        return _unit_determinant(maps.qr(z))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square(
            "SpecialUnitary", shape, "; matrices of another shape may be points of Stiefel()"
        )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n^2 - 1` real dimensions."""
        self.check_dtype(dtype)
        self.check_shape(shape)
        return shape[-1] ** 2 - 1
