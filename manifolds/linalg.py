"""The few matrix operations that maps and manifolds share.

Matrices live in the last two dimensions; every function takes leading batch dimensions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from torchmanifold.manifolds.triangular import gram_excess

__all__ = [
    "accumulate",
    "add_product",
    "add_product_",
    "add_to_diagonal_",
    "adjoint",
    "determinant_sign",
    "eye_like",
    "frobenius",
    "gram_residual",
    "in_working_precision",
    "inner",
    "inverse",
    "move",
    "newton_schulz_step",
    "polish",
    "polish_change",
    "skew",
    "skew_norm_bound",
    "solve",
    "sym",
    "trace",
    "transposed",
]

F = TypeVar("F", bound=Callable[..., Any])

_HALF = (torch.float16, torch.bfloat16)


def adjoint(x: Tensor) -> Tensor:
    """Conjugate transpose of the last two dimensions."""
    return x.mH


def transposed(x: Tensor) -> Tensor:
    """The conjugate transpose as a tensor of its own, in rows.

    To copy it and add to the copy is up to four times as fast as to add `x.mH` itself, which is
    read across its rows.
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


def frobenius(x: Tensor) -> Tensor:
    """Frobenius norm of the last two dimensions."""
    # Not -2 and -1: of a 1 x 1 matrix PyTorch 2.11 would compile a norm of the wrong shape.
    return torch.linalg.vector_norm(x, dim=(x.ndim - 2, x.ndim - 1))


def skew_norm_bound(a: Tensor, square: Tensor) -> float:
    """Bound on the spectral norms of a batch of skew matrices, of them and their squares.

    The mean `m` and the deviation `s` of the eigenvalues of `A'A = -A A` bound the largest by
    `m + s (n/k - 1)^(1/2)`, where `k` is its multiplicity: 2 at least for a real matrix.

    Source: Wolkowicz and Styan, Bounds for eigenvalues using traces, Linear Algebra Appl. 29
    (1980), theorem 2.1.
    """
    if not a.numel():
        return 0.0
    n, multiplicity = a.shape[-1], 1 if a.is_complex() else 2
    mean = trace(square).real / -n
    variance = (frobenius(square) ** 2 / n - mean**2).clamp_min(0)
    return float((mean + (variance * max(n / multiplicity - 1, 0)).sqrt()).amax()) ** 0.5


def eye_like(x: Tensor) -> Tensor:
    """The `p x p` identity for an `(*batch, n, p)` tensor, in its dtype and on its device."""
    return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def add_to_diagonal_(x: Tensor, c: float) -> Tensor:
    """`x + c I`, in place."""
    x.diagonal(dim1=-2, dim2=-1).add_(c)
    return x


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
    """`beta c + alpha a b`, in place: of a batch, too, in one pass over `c`."""
    if a.ndim == b.ndim == c.ndim == 2:
        return c.addmm_(a, b, alpha=alpha, beta=beta)
    if a.ndim == b.ndim == c.ndim == 3 and len(a) == len(b):
        return c.baddbmm_(a, b, alpha=alpha, beta=beta)
    return c.mul_(beta).add_(a @ b, alpha=alpha)


def accumulate(c: Tensor, a: Tensor, b: Tensor, *, alpha: float = 1, beta: float = 1) -> Tensor:
    """`beta c + alpha a b`, which may take the memory of `c`; that has the shape of the product."""
    # The transforms have no rules for it in place, nor has autocast.
    casts = not c.is_meta and torch.is_autocast_enabled(c.device.type)
    if casts or torch._C._are_functorch_transforms_active():
        return add_product(c, a, b, alpha=alpha, beta=beta)
    return add_product_(c, a, b, alpha=alpha, beta=beta)


def _double(x: Tensor) -> Tensor:
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def gram_residual(x: Tensor) -> Tensor:
    """Distance from orthonormality `||x'x - I||_F`, evaluated in float64.

    A residual evaluated in the precision of `x` would mostly show its own rounding.
    """
    wide = _double(x)
    return frobenius(wide.mH @ wide - eye_like(wide))


def newton_schulz_step(y: Tensor) -> Tensor:
    """One cubic Newton-Schulz step towards the polar factor, `y - y (y'y - I) / 2`.

    Written as a correction: near the manifold the correction is small, so its rounding is
    too. With `e = ||y'y - I||` before, about `3 e^2 / 4` is left after.
    """
    return add_product(y, y, gram_excess(y), alpha=-0.5)


def move(x: Tensor, e: Tensor) -> Tensor:
    """`x (I + e)`, rounded once: a product that is added up on `x` would round at every term."""
    change = x @ e
    # PyTorch 2.11 compiles a `MatrixFunction` whose value was changed in place into one without
    # derivative.
    return change + x if torch.compiler.is_compiling() else change.add_(x)


def polish_change(e: Tensor) -> Tensor:
    """A Newton-Schulz step on `I + e`, written in `e`."""
    q = e + eye_like(e)
    return torch.add(e, q @ gram_excess(q), alpha=-0.5)


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
    x = x.float() if x.dtype in _HALF else x
    if not _alone(x):
        return torch.linalg.slogdet(x).sign
    each = [torch.linalg.slogdet(matrix).sign for matrix in x.flatten(0, -3)]
    return torch.stack(each).reshape(x.shape[:-2])


def polish(y: Tensor) -> Tensor:
    """A Newton-Schulz step that differentiates as the identity.

    For a `y` that is orthonormal but for its rounding, whatever it is a function of, the step is
    the identity in exact arithmetic, and so are its derivatives.
    """
    return y - (y - newton_schulz_step(y)).detach()


def in_working_precision(function: F) -> F:
    """Compute in float32 when the tensor arguments are float16 or bfloat16, and round once.

    Factorizations do not exist in half precision, and products of half-precision factors
    lose the constraint: so under autocast nothing is cast either.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        kind = next((a.device.type for a in args if isinstance(a, Tensor)), "meta")
        if kind != "meta" and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return wrapper(*args, **kwargs)
        half = next((a.dtype for a in args if isinstance(a, Tensor) and a.dtype in _HALF), None)
        if half is None:
            return function(*args, **kwargs)
        wide = [a.float() if isinstance(a, Tensor) and a.dtype in _HALF else a for a in args]
        out = function(*wide, **kwargs)
        if isinstance(out, tuple):
            return tuple(x.to(half) for x in out)
        return out.to(half) if isinstance(out, Tensor) else out

    # A code object of its own: the compiler counts recompilations by it, and profiles name it.
    named: Any = wrapper
    named.__code__ = named.__code__.replace(co_name=function.__qualname__)
    return cast(F, named)
