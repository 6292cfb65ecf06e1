"""The length of a step, and the precision that it needs."""

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
    """Whether the condition of `I + excess`, a Gram matrix on the CPU, is at most 3; False for NaN.

    The Frobenius norm of the excess bounds its spectral norm, and the Frobenius norm of its square
    gives a better bound.
    """
    norm = frobenius(excess)
    if bool((norm <= 2).all()):
        return True
    # For p equal eigenvalues of 2 the norm is 2 sqrt(p).
    if not bool((norm <= 2 * excess.shape[-1] ** 0.5).all()):
        return False
    return bool((frobenius(excess @ excess) <= 4).all())


def is_long(v: Tensor) -> bool:
    """Whether the step `v` needs float64 for its length; False where this cannot be read or had."""
    return _is_single(v) and reads_values(v) and not everywhere(frobenius(v) <= 10)


def shortened(v: Tensor, longest: float) -> Tensor:
    """`v`, scaled down to a norm `||v'v||_F^(1/2)` of `longest` if it is longer.

    This norm is at least the spectral norm and at most the Frobenius norm. On the CPU the Frobenius
    norm alone shows that most steps are short.
    """
    if reads_values(v) and everywhere(frobenius(v) <= longest):
        return v
    unit, scale = _unit(v, longest)
    square = frobenius(adjoint(unit) @ unit)[..., None, None]
    long = square * scale**2 > longest**2
    # Short steps get 1 under the square root, which has no derivative at zero.
    return torch.where(long, unit * longest / torch.where(long, square, 1.0).sqrt(), v)


def bounded(v: Tensor) -> Tensor:
    """The step `v`, `(*batch, n, p)`, scaled down to a Frobenius norm of `_longest` if longer.

    The result of a longer rotation has no meaningful digits. Far beyond this length rounding loses
    the point beside the step, so the sum of the two may lack rank, and Gram matrices are singular.
    """
    longest = _longest(v)
    return v if _is_within(v, longest) else _scaled(v, longest)


def bounded_turn(z: Tensor) -> Tensor:
    """`bounded` for rotations, which use only the skew part of `z` and form no Gram matrix."""
    return z if _is_within(z, 1e5) else _scaled(skew(z), 1e5)


def bounded_along(x: Tensor, v: Tensor) -> Tensor:
    """`bounded` for the thin maps, which use only the part of `v` that is tangent at `x`.

    On an accelerator these maps form Gram matrices of float32 steps in float32.
    """
    longest = _longest(v) if reads_values(v) or not _is_single(v) else 30.0
    if _is_within(v, longest):
        return v
    return _scaled(v - x @ sym(adjoint(x) @ v), longest)


def _is_single(v: Tensor) -> bool:
    return v.dtype in (torch.float32, torch.complex64)


def _longest(v: Tensor) -> float:
    """The longest step that is not shortened; its Gram matrix is formed in float64."""
    if _is_single(v):
        return 1e5 if reads_values(v) else 1e4  # on an accelerator there is no second pass
    return 1e3


def _scaled(v: Tensor, longest: float) -> Tensor:
    unit, scale = _unit(v, longest)
    norm = frobenius(unit)[..., None, None]
    long = ~(norm * scale <= longest)  # also steps that are not finite, which become NaN
    return torch.where(long, unit * longest / torch.where(long, norm, 1.0), v)


def _is_within(v: Tensor, longest: float) -> bool:
    """Whether all matrices of `v` are known to be short, by one read where that is allowed."""
    return reads_values(v) and everywhere(torch.linalg.vector_norm(v.detach()) <= longest)


def _unit(v: Tensor, longest: float) -> tuple[Tensor, Tensor]:
    """`v` over its largest entry, if that exceeds `longest`, so that no norm overflows."""
    scale = v.detach().abs().amax((-2, -1), keepdim=True).clamp_min(longest)
    return v / scale, scale


def largest_norm(norms: Tensor) -> float:
    """The largest norm, at most 1: a longer step fits no series, and powers of 1 stay finite."""
    return min(float(norms.amax()), 1.0) if norms.numel() > 0 else 0.0


def allowed_residual(z: Tensor) -> float:
    """The residual that a factor of `z` may have: a third of the tolerance for its rounding."""
    return 3.5 * torch.finfo(z.dtype).eps * z.shape[-1] ** 0.5
