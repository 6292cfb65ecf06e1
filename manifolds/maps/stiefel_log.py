"""Logarithms of the Stiefel manifold, for the canonical and the Euclidean metric.

A geodesic from `x` to `y` stays in the span of `[x y]`, so both logarithms are found for matrices
of at most `2p` rows: with orthonormal columns `q` of `y - x x'y`, a tangent vector is `x A + q B`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import adjoint, eye_like, narrow, reads_values, skew, sym, wide
from torchmanifold.manifolds.maps.exponential import expm_skew, log_orthogonal

__all__ = ["log_canonical", "log_euclidean"]

_STEPS = 200  # at most, where the host may ask whether the iteration has ended
_FIXED = 60  # on an accelerator
_MEMORY = 5
_NEAR = 0.3  # an error above which a step is not accelerated


def log_canonical(x: Tensor, y: Tensor) -> Tensor:
    r"""The velocity at `x` of the canonical geodesic that reaches `y` at time 1.

    `[x'y; q'y]` is completed to an orthogonal matrix whose logarithm `[[A, -B'], [B, C]]` has the
    least `C`. A rotation of the completion, from a Sylvester equation in `B B'`, then removes `C`.
    Where `C` does not vanish within 200 steps (60 on an accelerator), the result is NaN.

    Args:
        x: `(*batch, n, p)`, orthonormal columns, `n > p`.
        y: the same.

    Source: Zimmermann, SIAM J. Matrix Anal. Appl. 38, 2017, algorithm 3.1; Zimmermann & Hueper,
    SIAM J. Matrix Anal. Appl. 43, 2022, section 5, for the Sylvester equation.
    """
    return _lifted(x, y, _canonical)


def log_euclidean(x: Tensor, y: Tensor) -> Tensor:
    r"""The velocity at `x` of the Euclidean geodesic that reaches `y` at time 1.

    Shooting: the error at the end of a geodesic is carried back along it, by projections to five
    tangent spaces, and added to its velocity. Anderson's acceleration with five vectors divides the
    number of steps by two to six. Where the error does not vanish within 200 steps (60 on an
    accelerator), the result is NaN.

    Args:
        x: `(*batch, n, p)`, orthonormal columns, `n > p`.
        y: the same.

    Source: Bryner, Endpoint geodesics on the Stiefel manifold embedded in Euclidean space, SIAM J.
    Matrix Anal. Appl. 38, 2017, algorithm 1; Zimmermann & Hueper 2022, section 4; Walker & Ni, SIAM
    J. Numer. Anal. 49, 2011, for the acceleration.
    """
    return _lifted(x, y, _shooting)


def _lifted(x: Tensor, y: Tensor, solve: Callable[[Tensor, int], Tensor]) -> Tensor:
    n, p = x.shape[-2:]
    k = min(p, n - p)
    wide_x, wide_y = wide(x), wide(y)
    inner = adjoint(wide_x) @ wide_y
    rest = wide_y - wide_x @ inner
    rest = rest - wide_x @ (adjoint(wide_x) @ rest)
    finite = torch.isfinite(rest).all(-1).all(-1)
    rest = torch.where(finite[..., None, None], rest, 0.0)
    q = torch.linalg.qr(rest).Q[..., :k]
    end = torch.cat([torch.where(finite[..., None, None], inner, 0.0), adjoint(q) @ rest], dim=-2)
    # The columns of float32 are orthonormal to its rounding only.
    u, _, vh = torch.linalg.svd(end, full_matrices=False)
    found = solve(u @ vh, p)
    found = torch.where(finite[..., None, None], found, torch.nan)
    velocity = wide_x @ skew(found[..., :p, :]) + q @ found[..., p:, :]
    same = (x == y).all(-1).all(-1)[..., None, None]
    return narrow(torch.where(same, 0.0, velocity), x.dtype)


def _ended(error: Tensor, like: Tensor) -> tuple[Tensor, bool]:
    """The problems whose error has vanished, and whether all have, if the host may ask."""
    done = error <= 100 * torch.finfo(like.dtype).eps * like.shape[-1] ** 0.5
    # NaN never changes again.
    return done, reads_values(like) and bool((done | torch.isnan(error)).all())


def _steps(like: Tensor) -> int:
    return _STEPS if reads_values(like) else _FIXED


def _canonical(end: Tensor, p: int) -> Tensor:
    rest = torch.linalg.qr(end, mode="complete").Q[..., p:]
    u, s, vh = torch.linalg.svd(rest[..., p:, :])
    if not end.is_complex():
        # The completion has determinant 1.
        whole = torch.cat([end, rest @ adjoint(u @ vh)], dim=-1)
        sign = torch.linalg.det(whole).sign()
        u = torch.cat([u[..., :-1], u[..., -1:] * sign[..., None, None]], dim=-1)
    rest = rest @ adjoint(u @ vh)
    eye = eye_like(s[..., None].expand(*s.shape, s.shape[-1])).to(end.dtype)
    found, done = torch.zeros_like(end), torch.zeros_like(s[..., 0], dtype=torch.bool)
    for _ in range(_steps(end)):
        log = log_orthogonal(torch.cat([end, rest], dim=-1))
        b, c = log[..., p:, :p], log[..., p:, p:]
        error = torch.linalg.matrix_norm(c)
        found = torch.where(done[..., None, None], found, log[..., :p])
        now, over = _ended(error, log)
        done = done | now
        if over:
            break
        w, v = torch.linalg.eigh(sym(b @ adjoint(b)) / 12 - eye / 2)
        # Further than the injectivity radius the denominators can vanish; the step stays bounded.
        total = (w[..., :, None] + w[..., None, :]).clamp_max(-0.2)
        turn = skew(v @ ((adjoint(v) @ c @ v) / total) @ adjoint(v))
        rest = rest @ expm_skew(turn)
    return torch.where(done[..., None, None], found, torch.nan)


def _shooting(end: Tensor, p: int) -> Tensor:
    base = torch.eye(end.shape[-2], p, dtype=end.dtype, device=end.device).expand_as(end)
    velocity = _tangent(base, end - base)
    done = torch.zeros(end.shape[:-2], dtype=torch.bool, device=end.device)
    before = torch.full(done.shape, torch.inf, dtype=end.real.dtype, device=end.device)
    places: list[Tensor] = []
    shifts: list[Tensor] = []
    for _ in range(_steps(end)):
        points = _quarters(velocity, p)
        shift = end - points[-1]
        error = torch.linalg.matrix_norm(shift)
        now, over = _ended(error, end)
        done = done | now
        if over:
            break
        for point in (*reversed(points), base):
            shift = _tangent(point, shift)
        places = [*places[-_MEMORY:], velocity.flatten(-2)]
        shifts = [*shifts[-_MEMORY:], shift.flatten(-2)]
        step = shift
        if len(places) > 1:
            quick = _accelerated(places, shifts).view_as(shift)
            # Differences of shifts that are rounding alone can give any step.
            sane = torch.linalg.matrix_norm(quick) <= 100 * torch.linalg.matrix_norm(shift)
            fast = (error < _NEAR) & (error <= before) & sane
            step = torch.where(fast[..., None, None], quick, shift)
        velocity = torch.where(done[..., None, None], velocity, velocity + step)
        before = error
    return torch.where(done[..., None, None], velocity, torch.nan)


def _accelerated(places: list[Tensor], shifts: list[Tensor]) -> Tensor:
    """Anderson's step: the shift, less the combination of earlier ones that fits it best."""
    dx = torch.stack([b - a for a, b in pairwise(places)], dim=-1)
    df = torch.stack([b - a for a, b in pairwise(shifts)], dim=-1)
    gram = adjoint(df) @ df
    size = gram.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]
    tiny = torch.finfo(gram.dtype).tiny ** 0.5
    gram = gram + (1e-14 * size + tiny) * eye_like(gram)
    weights = torch.linalg.solve_ex(gram, adjoint(df) @ shifts[-1][..., None])[0]
    return shifts[-1] - ((dx + df) @ weights)[..., 0]


def _tangent(x: Tensor, z: Tensor) -> Tensor:
    return z - x @ sym(adjoint(x) @ z)


def _quarters(velocity: Tensor, p: int) -> list[Tensor]:
    """The Euclidean geodesic from `[I; 0]` at the times 1/4, 1/2, 3/4 and 1."""
    a, b = skew(velocity[..., :p, :]), velocity[..., p:, :]
    corner = b.new_zeros(*b.shape[:-1], b.shape[-2])
    top = torch.cat([2 * a, -adjoint(b)], dim=-1)
    turn = expm_skew(torch.cat([top, torch.cat([b, corner], dim=-1)], dim=-2) / 4)
    back = expm_skew(-a / 4)
    point = turn[..., :p] @ back
    points = [point]
    for _ in range(3):
        point = turn @ point @ back
        points.append(point)
    return points
