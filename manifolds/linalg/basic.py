"""Parts, norms and inner products of matrices in the last two dimensions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "add_to_diagonal_",
    "adjoint",
    "event_sum",
    "eye_like",
    "frobenius",
    "gram_residual",
    "inner",
    "largest_finite",
    "relative",
    "skew",
    "skew_norm_bound",
    "sym",
    "trace",
    "transposed",
]


def adjoint(x: Tensor) -> Tensor:
    """Conjugate transpose of the last two dimensions."""
    return x.mH


def transposed(x: Tensor) -> Tensor:
    """The conjugate transpose as a new contiguous tensor.

    To copy it and add to the copy is up to four times as fast as to add `x.mH` itself, whose memory
    is read across the rows.
    """
    return x.mH.clone(memory_format=torch.contiguous_format)


def sym(x: Tensor) -> Tensor:
    """Symmetric (Hermitian) part, `(x + x') / 2`; symmetric to the last bit."""
    if x.device.type == "cpu":
        return transposed(x).mul_(0.5).add_(x, alpha=0.5)  # halved first: no overflow
    return torch.add(x / 2, x.mH, alpha=0.5)  # one launch less


def skew(x: Tensor) -> Tensor:
    """Skew-symmetric (skew-Hermitian) part, `(x - x') / 2`; skew to the last bit."""
    if x.device.type == "cpu":
        return transposed(x).mul_(-0.5).add_(x, alpha=0.5)
    return torch.sub(x / 2, x.mH, alpha=0.5)


def trace(x: Tensor) -> Tensor:
    """Trace of the last two dimensions."""
    return x.diagonal(dim1=-2, dim2=-1).sum(-1)


def inner(u: Tensor, v: Tensor) -> Tensor:
    """Frobenius inner product `Re tr(u' v)` of shape `(*batch,)`."""
    product = (u.conj() * v).sum((-2, -1))
    return product.real if product.is_complex() else product


def event_sum(x: Tensor, ndim: int) -> Tensor:
    """Real part of the sum over the last `ndim` dimensions."""
    total = x.flatten(-ndim).sum(-1) if ndim else x
    return total.real if total.is_complex() else total


def frobenius(x: Tensor) -> Tensor:
    """Frobenius norm of the last two dimensions."""
    # Not -2 and -1: for a 1 x 1 matrix PyTorch 2.11 would compile a norm of the wrong shape.
    return torch.linalg.vector_norm(x, dim=(x.ndim - 2, x.ndim - 1))


def largest_finite(numbers: Tensor) -> float:
    """The largest finite number, also if there are NaNs; 0 if there is none."""
    finite = torch.where(torch.isfinite(numbers), numbers, 0.0)
    return float(finite.amax()) if numbers.numel() else 0.0


def skew_norm_bound(a: Tensor, square: Tensor) -> float:
    """Bound on the spectral norms of a batch of skew matrices `a`, given `a` and its square.

    The mean `m` and the deviation `s` of the eigenvalues of `A'A = -A A` bound the largest by
    `m + s (n/k - 1)^(1/2)`, where `k` is its multiplicity, at least 2 for a real matrix.

    Source: Wolkowicz and Styan, Bounds for eigenvalues using traces, Linear Algebra Appl. 29
    (1980), theorem 2.1.
    """
    if not a.numel():
        return 0.0
    n, multiplicity = a.shape[-1], 1 if a.is_complex() else 2
    rest = max(n / multiplicity - 1, 0)
    mean, norm = trace(square).real / -n, frobenius(square)
    if mean.numel() == 1:  # ten operations on one number, which are slow on tensors
        m, s = float(mean), float(norm)
        largest = m + math.sqrt(max(s * s / n - m * m, 0) * rest)
        return math.sqrt(largest) if math.isfinite(largest) else 0.0
    bound = mean + ((norm**2 / n - mean**2).clamp_min(0) * rest).sqrt()
    return largest_finite(bound) ** 0.5


def eye_like(x: Tensor) -> Tensor:
    """The `p x p` identity for an `(*batch, n, p)` tensor, in its dtype and on its device."""
    return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def add_to_diagonal_(x: Tensor, c: float) -> Tensor:
    """`x + c I`, in place."""
    x.diagonal(dim1=-2, dim2=-1).add_(c)
    return x


def _double(x: Tensor) -> Tensor:
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def gram_residual(x: Tensor) -> Tensor:
    """Distance from orthonormality `||x'x - I||_F`, evaluated in float64.

    A residual evaluated in the precision of `x` would mostly show its own rounding.
    """
    wide = _double(x)
    return frobenius(wide.mH @ wide - eye_like(wide))


def relative(defect: Tensor, x: Tensor) -> Tensor:
    """`||defect||_F / ||x||_F`, with `0 / 0 = 0`: the residual of points that have a scale."""
    wide = x.detach().to(torch.promote_types(x.dtype, torch.float64))
    if wide.numel() == 0:
        return frobenius(defect)
    # Divided by the largest entry first, so that no square over- or underflows.
    largest = wide.abs().amax((-2, -1), keepdim=True)
    largest = torch.where(largest > 0, largest, 1.0)
    size = frobenius(wide / largest)
    return frobenius(defect / largest) / torch.where(size > 0, size, 1.0)
