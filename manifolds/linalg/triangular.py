"""Products with a triangular or symmetric matrix, in blocks, at little more than half of the cost.

BLAS has such products, but PyTorch does not offer them. Large matrices on the CPU, single or in one
batch, are multiplied in blocks if no derivative is recorded; otherwise the whole product is formed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torchmanifold.manifolds.linalg.precision import wide

__all__ = [
    "gram",
    "gram_excess",
    "skew_square",
    "times_upper",
    "times_upper_adjoint",
    "upper_product",
]


_SINGLE = (torch.float32, torch.complex64)
_BLOCK = 64


_ROWS = 256  # rows of a tall matrix whose products are added up in float32
_SMALLEST = 256  # smaller matrices are slower in blocks


def _in_blocks(x: Tensor, *others: Tensor) -> bool:
    """Whether blocks, which are written in place, pay for the product with a `p x p` matrix."""
    return (
        x.shape[-1] >= _SMALLEST
        and x.ndim in (2, 3)
        and all(y.shape[:-2] == x.shape[:-2] and _in_blocks(y) for y in others)
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def _blocks(p: int) -> Iterator[tuple[int, int]]:
    return ((j, min(j + _BLOCK, p)) for j in range(0, p, _BLOCK))


def _multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write `a b` into `out`, a part of a tensor."""
    if a.ndim == 2:
        torch.mm(a, b, out=out)
    elif len(a) == 1:
        torch.mm(a[0], b[0], out=out[0])
    else:
        torch.bmm(a, b, out=out)


def gram(x: Tensor) -> Tensor:
    """`x'x`; for very tall matrices the sums over parts of the rows are added in float64."""
    if x.shape[-2] >= 32 * _ROWS and x.shape[-1] <= _BLOCK and x.dtype in _SINGLE:
        return _tall_gram(x)
    if not _in_blocks(x):
        return x.mH @ x
    p = x.shape[-1]
    y = x.new_empty(*x.shape[:-2], p, p)
    for j, k in _blocks(p):
        _multiply(x[..., j:k].mH, x[..., j:], out=y[..., j:k, j:])
        y[..., k:, j:k] = y[..., j:k, k:].mH
    return y


def _tall_gram(x: Tensor) -> Tensor:
    # A sum of n terms in float32 has an error of n eps.
    rows = x.shape[-2] // _ROWS * _ROWS
    parts = x[..., :rows, :].unflatten(-2, (-1, _ROWS))
    sums = parts.mH @ parts
    rest = x[..., rows:, :]
    return (wide(sums).sum(-3) + wide(rest.mH @ rest)).to(x.dtype)


def gram_excess(x: Tensor) -> Tensor:
    """`x'x - I`."""
    y = gram(x)
    y.diagonal(dim1=-2, dim2=-1).sub_(1)
    return y


def skew_square(a: Tensor) -> Tensor:
    """`a a` of a skew matrix, which is symmetric."""
    return gram(a).neg_() if _in_blocks(a) else a @ a


def upper_product(a: Tensor, b: Tensor) -> Tensor:
    """`a'b` on and above the diagonal; the entries below are finite and arbitrary."""
    if not _in_blocks(a, b):
        return a.mH @ b
    p = a.shape[-1]
    y = a.new_zeros(*a.shape[:-2], p, p)
    for j, k in _blocks(p):
        _multiply(a[..., j:k].mH, b[..., j:], out=y[..., j:k, j:])
    return y


def times_upper(x: Tensor, c: Tensor) -> Tensor:
    """`x c` for an upper triangular `c`."""
    if not _in_blocks(x, c):
        return x @ c
    y = torch.empty_like(x)
    for j, k in _blocks(x.shape[-1]):
        _multiply(x[..., :k], c[..., :k, j:k], out=y[..., j:k])
    return y


def times_upper_adjoint(x: Tensor, c: Tensor) -> Tensor:
    """`x c'` for an upper triangular `c`."""
    if not _in_blocks(x, c):
        return x @ c.mH
    y = torch.empty_like(x)
    for j, k in _blocks(x.shape[-1]):
        _multiply(x[..., j:], c[..., j:k, j:].mH, out=y[..., j:k])
    return y
