"""How long a step is, and what follows for the precision it needs."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    adjoint,
    everywhere,
    frobenius,
    reads_values,
    skew,
    sym,
)

__all__ = [
    "allowed_residual",
    "bounded",
    "bounded_along",
    "bounded_turn",
    "is_long",
    "is_short",
    "largest_norm",
    "shortened",
]


def is_short(excess: Tensor) -> bool:
    """Is the condition of `I + excess`, a Gram matrix on the CPU, at most 3? Not if it is NaN.

    The spectral norm of the excess is bounded by its Frobenius norm, and better by that of its
    square.
    """
    norm = frobenius(excess)
    if bool((norm <= 2).all()):
        return True
    # Of p equal eigenvalues of 2 the norm is 2 sqrt(p).
    if not bool((norm <= 2 * excess.shape[-1] ** 0.5).all()):
        return False
    return bool((frobenius(excess @ excess) <= 4).all())


def is_long(v: Tensor) -> bool:
    """Is `v` a step so long that it wants float64, where that may be read and is to be had?"""
    return _is_single(v) and reads_values(v) and not everywhere(frobenius(v) <= 10)


def shortened(v: Tensor, longest: float) -> Tensor:
    """`v`, scaled down to a norm `||v'v||_F^(1/2)` of `longest` where it is longer.

    That norm is at least the spectral norm and at most the Frobenius norm, of which on the CPU a
    look is enough to see that most steps are short.
    """
    if reads_values(v) and everywhere(frobenius(v) <= longest):
        return v
    unit, scale = _unit(v, longest)
    square = frobenius(adjoint(unit) @ unit)[..., None, None]
    long = square * scale**2 > longest**2
    # Where it is not long, a square root at zero would have no derivative.
    return torch.where(long, unit * longest / torch.where(long, square, 1.0).sqrt(), v)


def bounded(v: Tensor) -> Tensor:
    """The step `v`, `(*batch, n, p)`, scaled down to a Frobenius norm of `_longest` if longer.

    A rotation by more than that has no digits that matter; and far beyond it the point is lost
    beside the step, so that the sum of the two may lack rank, and Gram matrices are singular.
    """
    longest = _longest(v)
    return v if _is_within(v, longest) else _scaled(v, longest)


def bounded_turn(z: Tensor) -> Tensor:
    """`bounded` for rotations, which see of any `z` its skew part alone and form no Gram matrix."""
    return z if _is_within(z, 1e5) else _scaled(skew(z), 1e5)


def bounded_along(x: Tensor, v: Tensor) -> Tensor:
    """`bounded` for maps of the thin kind, which see of any `v` its part tangent at `x` alone.

    On an accelerator they form Gram matrices of float32 steps in float32.
    """
    longest = _longest(v) if reads_values(v) or not _is_single(v) else 30.0
    if _is_within(v, longest):
        return v
    return _scaled(v - x @ sym(adjoint(x) @ v), longest)


def _is_single(v: Tensor) -> bool:
    return v.dtype in (torch.float32, torch.complex64)


def _longest(v: Tensor) -> float:
    """The longest step that is not shortened: its Gram matrix is formed in float64."""
    if _is_single(v):
        return 1e5 if reads_values(v) else 1e4  # on an accelerator there is no second pass
    return 1e3


def _scaled(v: Tensor, longest: float) -> Tensor:
    unit, scale = _unit(v, longest)
    norm = frobenius(unit)[..., None, None]
    long = ~(norm * scale <= longest)  # also what is not finite, and becomes NaN
    return torch.where(long, unit * longest / torch.where(long, norm, 1.0), v)


def _is_within(v: Tensor, longest: float) -> bool:
    """Is `v` known to be short? Of all matrices together, by one look where that is allowed."""
    return reads_values(v) and everywhere(torch.linalg.vector_norm(v.detach()) <= longest)


def _unit(v: Tensor, longest: float) -> tuple[Tensor, Tensor]:
    """`v` over its largest entry, if that is larger than `longest`; no norm of it overflows."""
    scale = v.detach().abs().amax((-2, -1), keepdim=True).clamp_min(longest)
    return v / scale, scale


def largest_norm(norms: Tensor) -> float:
    """The largest norm, as far as it matters: 1 is too long for any series, its powers are none."""
    return min(float(norms.amax()), 1.0) if norms.numel() > 0 else 0.0


def allowed_residual(z: Tensor) -> float:
    """The residual that may be left by a factor of `z`: a third of what its rounding is given."""
    return 3.5 * torch.finfo(z.dtype).eps * z.shape[-1] ** 0.5
