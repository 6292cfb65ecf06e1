"""The Lyapunov equation of a stable matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg.basic import sym

__all__ = ["stable_lyapunov"]

STEPS = 100
REFINEMENTS = 2


def stable_lyapunov(a: Tensor, q: Tensor) -> Tensor:
    """The solution `x` of `a x + x a' = -q` for a Hermitian `q`; `a` has no eigenvalue at 0.

    Newton's iteration for the matrix sign function of `[[a', 0], [q, -a]]` keeps the block
    structure: `a <- (c a + (c a)^-1) / 2` and `q <- (c q + a^-1 q a^-T / c) / 2` with
    `c = |det a|^(-1/n)`. In the limit `a = -I` and `q = 2 x`. Two steps of iterative refinement
    follow.

    Args:
        a: `(*batch, n, n)`, float64 or complex128, every eigenvalue with a negative real part.
        q: `(*batch, n, n)`, Hermitian.

    Returns:
        `(*batch, n, n)`, Hermitian.

    Example:
        >>> import torch
        >>> a = torch.tensor([[-1.0, 1.0], [0.0, -2.0]], dtype=torch.float64)
        >>> x = stable_lyapunov(a, torch.eye(2, dtype=torch.float64))
        >>> bool((a @ x + x @ a.mT + torch.eye(2)).norm() < 1e-15)
        True

    Source: Roberts, Linear model reduction and solution of the algebraic Riccati equation by use
    of the sign function, Int. J. Control 32 (1980).
    """
    x = _once(a, q)
    for _ in range(REFINEMENTS):
        x = x + _once(a, sym(a @ x + x @ a.mH + q))
    return x


def _once(a: Tensor, q: Tensor) -> Tensor:
    n, eps = a.shape[-1], torch.finfo(a.dtype).eps
    for _ in range(STEPS):
        inverse = torch.linalg.inv(a)
        c = torch.linalg.slogdet(a)[1].div(-n).exp()[..., None, None]
        following = (c * a + inverse / c) / 2
        q = sym(c * q + inverse @ q @ inverse.mH / c) / 2
        change = torch.linalg.matrix_norm(following - a, 1)
        size = torch.linalg.matrix_norm(following, 1)
        a = following
        if bool((change <= n * eps * size).all()):
            break
    return q / 2
