"""Factorizations that propagate NaN and do not synchronize the host."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg.basic import sym
from torchmanifold.manifolds.linalg.function import everywhere
from torchmanifold.manifolds.linalg.precision import HALF, reads_values

__all__ = [
    "cholesky",
    "congruence",
    "determinant_sign",
    "eigh",
    "inverse",
    "solve",
    "svd",
    "whiten",
]


def _alone(x: Tensor) -> bool:
    # PyTorch 2.13 with MKL and several threads breaks the LU factorization of a batch from
    # n = 150 on: pivots out of range, or a crash of the process.
    return x.ndim > 2 and x.shape[-1] > 128 and x.device.type == "cpu" and x.numel() > 0


def inverse(x: Tensor) -> Tensor:
    """Inverse of the last two dimensions, without a host synchronization."""
    if not _alone(x):
        return torch.linalg.inv_ex(x).inverse
    each = [torch.linalg.inv_ex(matrix).inverse for matrix in x.flatten(0, -3)]
    return torch.stack(each).reshape(x.shape)


def solve(a: Tensor, b: Tensor) -> Tensor:
    """`a^-1 b` for square `a` and `b` of one shape, without a host synchronization."""
    if not _alone(a):
        return torch.linalg.solve_ex(a, b).result
    pairs = zip(a.flatten(0, -3), b.flatten(0, -3), strict=True)
    return torch.stack([torch.linalg.solve_ex(x, y).result for x, y in pairs]).reshape(b.shape)


def determinant_sign(x: Tensor) -> Tensor:
    """Sign of the determinant, `(*batch,)`; the determinant itself underflows in float32."""
    x = x.float() if x.dtype in HALF else x
    if not _alone(x):
        return torch.linalg.slogdet(x).sign
    each = [torch.linalg.slogdet(matrix).sign for matrix in x.flatten(0, -3)]
    return torch.stack(each).reshape(x.shape[:-2])


def _bad(x: Tensor) -> Tensor | None:
    """A mask `(*batch, 1)` of matrices that are not finite; None if it can be read and is empty."""
    # A finite sum has finite terms. On the CPU it takes a fiftieth of the time of the norms.
    if reads_values(x) and everywhere(torch.isfinite(x.sum())):
        return None
    bad = ~torch.isfinite(torch.linalg.vector_norm(x, ord=torch.inf, dim=(-2, -1)))[..., None]
    return None if reads_values(x) and everywhere(~bad) else bad


def eigh(s: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh` that propagates NaN, matrix by matrix, where LAPACK raises."""
    bad = _bad(s)
    if bad is None:
        return torch.linalg.eigh(s)
    values, vectors = torch.linalg.eigh(s.masked_fill(bad[..., None], 0))
    return values.masked_fill(bad, torch.nan), vectors


def svd(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin `torch.linalg.svd` that propagates NaN, matrix by matrix, where LAPACK raises."""
    bad = _bad(z)
    if bad is None:
        return torch.linalg.svd(z, full_matrices=False)
    u, s, vh = torch.linalg.svd(z.masked_fill(bad[..., None], 0), full_matrices=False)
    return u.masked_fill(bad[..., None], torch.nan), s.masked_fill(bad, torch.nan), vh


def cholesky(x: Tensor) -> Tensor:
    """The lower factor `L` with `x = L L'`; NaN for a matrix that is not positive definite."""
    # cholesky_ex: no host synchronization, and a point off the manifold gives NaN, not an error.
    factor, info = torch.linalg.cholesky_ex(x)
    return torch.where((info == 0)[..., None, None], factor, torch.nan)


def whiten(factor: Tensor, u: Tensor) -> Tensor:
    """`L^-1 u L^-H`, Hermitian to the last bit."""
    half = torch.linalg.solve_triangular(factor, u, upper=False)
    return sym(torch.linalg.solve_triangular(factor, half.mH, upper=False))


def congruence(factor: Tensor, s: Tensor) -> Tensor:
    """`L s L^H`, Hermitian to the last bit."""
    return sym(factor @ s @ factor.mH)
