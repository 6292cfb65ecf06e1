"""Products that are added to a matrix, and the Newton-Schulz steps that consist of them."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg.basic import eye_like
from torchmanifold.manifolds.linalg.triangular import gram_excess

__all__ = [
    "accumulate",
    "add_product",
    "add_product_",
    "move",
    "newton_schulz_step",
    "polish",
    "polish_change",
    "product_in",
]


def add_product(c: Tensor, a: Tensor, b: Tensor, *, alpha: float = 1, beta: float = 1) -> Tensor:
    """`beta c + alpha a b`, in one pass over `c` for a matrix or a single batch of matrices."""
    if c.mT.is_contiguous() and not c.is_contiguous():  # the transpose of a wide weight stays one
        return add_product(c.mT, b.mT, a.mT, alpha=alpha, beta=beta).mT
    if a.ndim == b.ndim == 2 and c.ndim == 2:
        return torch.addmm(c, a, b, alpha=alpha, beta=beta)
    if a.ndim == b.ndim == 3 and len(a) == len(b) and (c.ndim == 2 or len(c) == len(a)):
        return torch.baddbmm(c, a, b, alpha=alpha, beta=beta)
    return beta * c + alpha * (a @ b)


def add_product_(c: Tensor, a: Tensor, b: Tensor, *, alpha: float = 1, beta: float = 1) -> Tensor:
    """`beta c + alpha a b`, in place, also for a batch, in one pass over `c`."""
    if a.ndim == b.ndim == c.ndim == 2:
        return c.addmm_(a, b, alpha=alpha, beta=beta)
    if a.ndim == b.ndim == c.ndim == 3 and len(a) == len(b):
        return c.baddbmm_(a, b, alpha=alpha, beta=beta)
    return c.mul_(beta).add_(a @ b, alpha=alpha)


def product_in(dtype: torch.dtype | None, a: Tensor, b: Tensor) -> Tensor:
    """`a b`, multiplied in `dtype`, returned in that of the factors; complex ones keep theirs."""
    if dtype is None or a.is_complex():
        return a @ b
    return (a.to(dtype) @ b.to(dtype)).to(a.dtype)


def accumulate(c: Tensor, a: Tensor, b: Tensor, *, alpha: float = 1, beta: float = 1) -> Tensor:
    """`beta c + alpha a b`, which may use the memory of `c`; `c` has the shape of the product."""
    # Neither the transforms nor autocast have rules for the in-place form.
    casts = not c.is_meta and torch.is_autocast_enabled(c.device.type)
    if casts or torch._C._are_functorch_transforms_active():
        return add_product(c, a, b, alpha=alpha, beta=beta)
    return add_product_(c, a, b, alpha=alpha, beta=beta)


def newton_schulz_step(y: Tensor) -> Tensor:
    """One cubic Newton-Schulz step towards the polar factor, `y - y (y'y - I) / 2`.

    The step is written as a correction, because near the manifold a correction is small, and so is
    its rounding error. If `||y'y - I||` is `e` before the step, it is about `3 e^2 / 4` after.
    """
    return add_product(y, y, gram_excess(y), alpha=-0.5)


def move(x: Tensor, e: Tensor) -> Tensor:
    """`x (I + e)`, rounded once: a product accumulated on `x` would round at every term."""
    change = x @ e
    # If the value of a `MatrixFunction` was changed in place, PyTorch 2.11 compiles it without its
    # derivative.
    return change + x if torch.compiler.is_compiling() else change.add_(x)


def polish_change(e: Tensor) -> Tensor:
    """A Newton-Schulz step on `I + e`, written in `e`."""
    q = e + eye_like(e)
    return torch.add(e, q @ gram_excess(q), alpha=-0.5)


def polish(y: Tensor) -> Tensor:
    """A Newton-Schulz step that differentiates as the identity.

    If `y` is orthonormal up to rounding, for all values of the variables on which it depends, the
    step is the identity in exact arithmetic, and so are its derivatives.
    """
    return y - (y - newton_schulz_step(y)).detach()
