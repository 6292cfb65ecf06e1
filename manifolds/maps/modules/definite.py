"""Symmetric to positive definite matrices, as modules."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import adjoint, in_working_precision, sym
from torchmanifold.manifolds.maps.modules.domain import (
    largest,
    require_finite,
    require_positive_definite,
    require_symmetric,
    slack,
)
from torchmanifold.manifolds.maps.spectral import spd_exp, spd_log, spectral

__all__ = [
    "Cholesky",
    "Softplus",
    "SpdExponential",
    "SpdLogarithm",
    "Square",
    "semidefinite_factor",
]


class SpdExponential(nn.Module):
    """Symmetric to positive definite by the matrix exponential; right inverse `spd_log`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import SpdExponential
        >>> SpdExponential()(torch.zeros(1, 1))
        tensor([[1.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, s: Tensor) -> Tensor:
        """`exp(sym(s))`."""
        return spd_exp(s)

    def right_inverse(self, p: Tensor) -> Tensor:
        """`log(p)`; raises ValueError if `p` is not positive definite."""
        require_positive_definite(p, type(self).__name__)
        return spd_log(p)


class SpdLogarithm(nn.Module):
    """Positive definite to symmetric by the matrix logarithm; right inverse `spd_exp`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import SpdLogarithm
        >>> SpdLogarithm()(torch.ones(1, 1))
        tensor([[0.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, p: Tensor) -> Tensor:
        """`log(p)`."""
        return spd_log(p)

    def right_inverse(self, s: Tensor) -> Tensor:
        """`exp(s)`; raises ValueError if `s` is not symmetric, or too large to be kept."""
        name = type(self).__name__
        require_symmetric(s, name)
        p = spd_exp(s)
        if not p.is_meta:
            off = largest(spd_log(p) - s) if bool(torch.isfinite(p).all()) else math.inf
            if not off <= slack(s) * (1 + largest(s)):
                raise ValueError(
                    f"{name}.right_inverse: {s.dtype} cannot hold the exponential of this matrix: "
                    f"its logarithm differs by {off:.3g}; the largest entry is {largest(s):.3g}"
                )
        return p


def _softplus(x: Tensor) -> Tensor:
    # nn.functional.softplus is linear beyond a threshold, so its slope jumps there.
    return torch.logaddexp(x, torch.zeros_like(x))


def _inverse_softplus(y: Tensor) -> Tensor:
    return y + torch.log(-torch.expm1(-y))


class Softplus(nn.Module):
    """Symmetric to positive definite by `log(1 + exp(l))` on the eigenvalues.

    It grows linearly where the exponential would overflow.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Softplus
        >>> Softplus()(torch.zeros(1, 1))
        tensor([[0.6931]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, s: Tensor) -> Tensor:
        """Softplus of the eigenvalues of `sym(s)`."""
        return spectral(s, _softplus, torch.sigmoid)

    def right_inverse(self, p: Tensor) -> Tensor:
        """Inverse softplus; raises ValueError if `p` is not positive definite."""
        require_positive_definite(p, type(self).__name__)
        return spectral(p, _inverse_softplus, lambda y: 1 / -torch.expm1(-y))


@in_working_precision
def _factor(p: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues, and a factor of `p` with `rank` columns; the square root at full rank."""
    n = p.shape[-1]
    values, vectors = torch.linalg.eigh(sym(p))
    root = vectors * values.clamp_min(0).sqrt().unsqueeze(-2)
    return values, root @ adjoint(vectors) if rank == n else root[..., n - rank :]


def semidefinite_factor(p: Tensor, rank: int, name: str) -> Tensor:
    """A factor `z` of `rank` columns with `z z' = p`, for the right inverse of the map `name`.

    Raises:
        ValueError: `p` is not symmetric positive semidefinite of at most this rank.
    """
    require_symmetric(p, name)
    n = p.shape[-1]
    if rank > n:
        raise ValueError(
            f"{name}.right_inverse: a {n} x {n} matrix has no factor of {rank} columns of full "
            f"rank; choose a rank of at most {n}"
        )
    values, root = _factor(p, rank)
    require_finite(root, name)
    if not p.is_meta:
        tolerance = slack(p) / 10 * n * largest(values)
        dropped = values[..., : n - rank]
        if bool((values < -tolerance).any()) or largest(dropped) > tolerance:
            raise ValueError(
                f"{name}.right_inverse: the matrix is not positive semidefinite of rank {rank}: "
                f"its least eigenvalue is {float(values.amin()):.3g}, the largest beyond the rank "
                f"{largest(dropped):.3g}; take "
                f"torchmanifold.maps.PositiveSemidefinite({rank}).project(p)"
            )
    return root


class Square(nn.Module):
    """`Z Z'`: positive semidefinite, of the rank of `Z`.

    With a tall `n x r` argument the value has rank `r` (PSD of fixed rank).

    Args:
        rank: the number of columns of the right inverse; by default all columns.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Square
        >>> Square()(torch.tensor([[1.0], [2.0]]))
        tensor([[1., 2.],
                [2., 4.]])

    Source: Bures-Wasserstein geometry of factors, Massart and Absil, SIAM J. Matrix Anal.
    Appl. 41 (2020).
    """

    batched = True

    def __init__(self, rank: int | None = None) -> None:
        super().__init__()
        if rank is not None and rank < 1:
            raise ValueError(f"Square: rank must be at least 1, got {rank}")
        self.rank = rank

    @property
    def config(self) -> tuple[int | None]:
        """The settings; maps with equal settings can be evaluated together."""
        return (self.rank,)

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`z z'`."""
        return z @ adjoint(z)

    def right_inverse(self, p: Tensor) -> Tensor:
        """A factor `z` with `z z' = p`; raises ValueError if there is none of this rank."""
        rank = p.shape[-1] if self.rank is None else self.rank
        return semidefinite_factor(p, rank, type(self).__name__)


@in_working_precision
def _log_cholesky(p: Tensor) -> Tensor:
    factor = torch.linalg.cholesky(p)
    return factor.tril(-1) + torch.diag_embed(factor.diagonal(dim1=-2, dim2=-1).log())


class Cholesky(nn.Module):
    """Log-Cholesky: lower triangle of `z` with exponentiated diagonal, `L L'`.

    The value is positive definite for every `z`, and takes only products. Entries above the
    diagonal are not used.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Cholesky
        >>> Cholesky()(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])

    Source: Lin, Riemannian geometry of symmetric positive definite matrices via Cholesky
    decomposition, SIAM J. Matrix Anal. Appl. 40 (2019).
    """

    batched = True
    config: tuple[()] = ()

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`L L'` with `L = tril(z, -1) + exp(diag(z))`."""
        diagonal = z.diagonal(dim1=-2, dim2=-1)
        diagonal = (diagonal.real if z.is_complex() else diagonal).exp()
        factor = z.tril(-1) + torch.diag_embed(diagonal.to(z.dtype))
        return factor @ adjoint(factor)

    def right_inverse(self, p: Tensor) -> Tensor:
        """`tril(L, -1) + log(diag(L))`; raises ValueError if `p` is not positive definite."""
        require_positive_definite(p, type(self).__name__)
        return _log_cholesky(p)
