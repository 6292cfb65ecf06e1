"""How long a step is, and what follows for the precision it needs."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import adjoint, everywhere, frobenius, reads_values

__all__ = ["allowed_residual", "is_long", "is_short", "largest_norm", "shortened"]


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
    single = v.dtype in (torch.float32, torch.complex64)
    return single and reads_values(v) and not everywhere(frobenius(v) <= 10)


def shortened(v: Tensor, longest: float) -> Tensor:
    """`v`, scaled down to a norm `||v'v||_F^(1/2)` of `longest` where it is longer.

    That norm is at least the spectral norm and at most the Frobenius norm, of which on the CPU a
    look is enough to see that most steps are short.
    """
    if reads_values(v) and everywhere(frobenius(v) <= longest):
        return v
    # Of what is divided by its largest entry the Gram matrix cannot overflow.
    scale = v.detach().abs().amax((-2, -1), keepdim=True).clamp_min(longest)
    unit = v / scale
    square = frobenius(adjoint(unit) @ unit)[..., None, None]
    long = square * scale**2 > longest**2
    # Where it is not long, a square root at zero would have no derivative.
    return torch.where(long, unit * longest / torch.where(long, square, 1.0).sqrt(), v)


def largest_norm(norms: Tensor) -> float:
    """The largest norm, as far as it matters: 1 is too long for any series, its powers are none."""
    return min(float(norms.amax()), 1.0) if norms.numel() > 0 else 0.0


def allowed_residual(z: Tensor) -> float:
    """The residual that may be left by a factor of `z`: a third of what its rounding is given."""
    return 3.5 * torch.finfo(z.dtype).eps * z.shape[-1] ** 0.5
