"""Orthogonal and unitary groups: coordinates in the Lie algebra, exponential, logarithm, Cayley."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.guard import guarded
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import EuclideanMetric, MetricRule
from torchmanifold.manifolds.geometry.orthonormal import (
    newton_schulz,
    newton_schulz_residual,
    polar,
    qr,
    weingarten,
)
from torchmanifold.manifolds.geometry.retractions import (
    QR,
    Cayley,
    Exp,
    NewtonSchulz,
    Polar,
    Retraction,
    RetractionRule,
)
from torchmanifold.manifolds.geometry.steepest import square_steepest
from torchmanifold.manifolds.linalg import eye_like, narrow, polish, skew, sym, wide

__all__ = ["GROUP_METRIC", "GROUP_RETRACTIONS", "group_dist", "group_log", "phase_radius"]

ROUNDINGS = 16  # roundings of an angle, within which of a half turn the logarithm is NaN


# A group action adds the change to the point and ends in one Newton-Schulz step. Without the first
# its rounding error is that of a product; without the second 4000 steps drift to 900 eps. A
# trivialization makes one step from its base. Its coordinates are in the Lie algebra, so it needs
# neither a product to find them nor a polish.
def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return x @ skew(v)


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return x.mH @ u


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return polish(_trivialize_exp(M, x, x.mH @ v))


def _trivialize_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return maps.exp_step(x, v)


def _between(x: Tensor, y: Tensor) -> Tensor:
    """`x'y` in float64: near a half turn the logarithm multiplies rounding by 1 / (pi - angle)."""
    return polish(wide(x).mH @ wide(y))


def group_log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """`x log(x'y)`, up to a half turn."""
    q = _between(x, y)
    # At an angle of pi the logarithm is not unique, so it is NaN and not an arbitrary one.
    gap = torch.linalg.svdvals(eye_like(q) + q.detach())[..., -1:].sum(-1)
    cut = gap <= ROUNDINGS * torch.finfo(x.dtype).eps
    v = wide(x) @ maps.log_orthogonal(q)
    return narrow(torch.where(cut[..., None, None], torch.nan, v), x.dtype)


def group_dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """The norm of the angles, which exist at pi too; its derivative is that of the logarithm."""
    q = _between(x, y)
    with torch.no_grad():
        cosines, w = torch.linalg.eigh(sym(q))
        sines = torch.linalg.vector_norm(skew(q) @ w, dim=-2)
        angles = torch.linalg.vector_norm(torch.atan2(sines, cosines), dim=-1)
        if not q.is_complex():
            # The two components of the orthogonal group are at an infinite distance.
            angles = torch.where(torch.linalg.det(q) < 0, torch.inf, angles)
    dtype = M.norm(x.detach(), x.detach()).dtype
    if not (torch.is_grad_enabled() and q.requires_grad):
        return narrow(angles, dtype)
    distance = torch.linalg.matrix_norm(maps.log_orthogonal(q))
    return narrow(distance + (angles - distance).detach(), dtype)


def _cayley(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return polish(maps.cayley_step(x, x.mH @ v))


def _trivialize_cayley(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return maps.cayley_step(x, v)


def _inverse_cayley(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return x @ maps.inverse_cayley(x.mH @ y)


def _parallel_transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """`x e^(A/2) (x'w) e^(A/2)` with `A = x'v`: the metric of the group is bi-invariant."""
    half = maps.exp_step(x, x.mH @ v / 2)
    return half @ (x.mH @ w) @ (x.mH @ half)


def _rotation_radius(M: Manifold, shape: tuple[int, ...]) -> float:
    """`sqrt(2) pi`, the length of a rotation of one plane by a half turn."""
    return math.sqrt(2) * math.pi if shape[-1] > 1 else math.inf


def phase_radius(M: Manifold, shape: tuple[int, ...]) -> float:
    """`pi`, the length of a half turn of the phase of one vector."""
    return math.pi


# The injectivity radius here is that of real groups; that of the unitary group is `phase_radius`.
GROUP_METRIC = MetricRule(
    steepest=guarded(square_steepest),
    coordinates=_coordinates,
    inverse_coordinates=_inverse_coordinates,
    weingarten=weingarten,
    exp=_exp,
    log=group_log,
    dist=group_dist,
    parallel_transport=_parallel_transport,
    injectivity_radius=_rotation_radius,
)

GROUP_RETRACTIONS: Mapping[type[Retraction], RetractionRule] = {
    Cayley: RetractionRule(
        _cayley,
        {EuclideanMetric: 2},
        _inverse_cayley,
        trivialize={EuclideanMetric: _trivialize_cayley},
    ),
    Exp: RetractionRule(
        _exp, {EuclideanMetric: 2}, group_log, trivialize={EuclideanMetric: _trivialize_exp}
    ),
    Polar: RetractionRule(polar, {EuclideanMetric: 2}),
    QR: RetractionRule(qr, {EuclideanMetric: 1}),
    NewtonSchulz: RetractionRule(
        newton_schulz, {EuclideanMetric: 2}, residual=newton_schulz_residual
    ),
}
