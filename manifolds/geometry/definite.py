"""What the manifolds of positive definite matrices share."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.linalg import cholesky, sym

__all__ = ["lifted", "quadratic"]


def quadratic(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The row of `Quadratic`."""
    # (x + (I + v x^-1) x (I + v x^-1)') / 2: positive for every v.
    half = torch.linalg.solve_triangular(cholesky(x), v, upper=False)
    return sym(x + v + half.mH @ half / 2)


def lifted(z: Tensor, eps: float) -> Tensor:
    """Symmetric part of `z` with its eigenvalues lifted to `10 n eps` of the largest.

    The floor is `eps` where no eigenvalue is positive; the matrix is NaN where `z` has one.
    """
    values, vectors = torch.linalg.eigh(sym(torch.nan_to_num(z)))
    top = values[..., -1:]
    floor = torch.where(top > 0, 10 * z.shape[-1] * eps * top, eps)
    lift = (floor - values).clamp_min(0)
    # Adding the lift leaves a matrix that needs none exactly as it is.
    lifted = sym(z) + sym((vectors * lift[..., None, :]) @ vectors.mH)
    return torch.where(torch.isfinite(z).all(-1).all(-1)[..., None, None], lifted, torch.nan)
