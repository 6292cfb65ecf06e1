"""Distances of positive definite matrices that do not come from a Riemannian metric."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import cholesky, in_working_precision, whiten

__all__ = ["stein_divergence", "thompson_distance"]


def _changes(x: Tensor, y: Tensor) -> Tensor:
    """The eigenvalues of `x^-1 y - I`, which keep their digits if the matrices are close."""
    for name, given in (("x", x), ("y", y)):
        if not isinstance(given, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(given).__name__}")
        if given.ndim < 2 or given.shape[-2:] != (x.shape[-1], x.shape[-1]):
            raise ValueError(
                f"x and y must be square matrices of one size, got the shapes {tuple(x.shape)} "
                f"and {tuple(y.shape)}"
            )
    return torch.linalg.eigvalsh(whiten(cholesky(x), y - x))


@in_working_precision
def stein_divergence(x: Tensor, y: Tensor) -> Tensor:
    """The S-divergence `log det((x + y) / 2) - log det(x y) / 2`, `(*batch,)`.

    Its square root is a distance, which does not change under a congruence `a x a'` of both
    matrices. It costs one Cholesky factor and the eigenvalues of one matrix.

    Args:
        x: `(*batch, n, n)`, symmetric (Hermitian) positive definite.
        y: the same; batch dimensions broadcast.

    Example:
        >>> import torch, torchmanifold as tm
        >>> tm.stein_divergence(torch.eye(2), 4 * torch.eye(2))
        tensor(0.4463)

    Source: Sra, Positive definite matrices and the S-divergence, Proc. AMS 144, 2016.
    """
    # With l = 1 + m: log((1 + l) / 2) - log(l) / 2 = log1p(m^2 / (4 l)) / 2 has no cancellation.
    m = _changes(x, y)
    return (m * m / (4 * (1 + m))).log1p().sum(-1) / 2


@in_working_precision
def thompson_distance(x: Tensor, y: Tensor) -> Tensor:
    """Thompson's part metric, the spectral norm of `log(x^(-1/2) y x^(-1/2))`, `(*batch,)`.

    It is the distance of a complete Finsler metric on the cone. It does not change under a
    congruence `a x a'` of both matrices, or under inversion.

    Args:
        x: `(*batch, n, n)`, symmetric (Hermitian) positive definite.
        y: the same; batch dimensions broadcast.

    Example:
        >>> import torch, torchmanifold as tm
        >>> tm.thompson_distance(torch.eye(2), torch.diag(torch.tensor([torch.e, 1.0])))
        tensor(1.)

    Source: Thompson, On certain contraction mappings in a partially ordered vector space, Proc.
    AMS 14, 1963; Bhatia, Positive Definite Matrices, Princeton 2007, section 6.2.
    """
    return _changes(x, y).log1p().abs().amax(-1)
