"""Functions of symmetric (Hermitian) matrices, with derivatives that stay finite.

A scalar function acts on a symmetric matrix through its eigenvalues, `f(S) = U diag(f(l)) U'`. Its
derivative is a Schur product in the eigenbasis with the *divided differences*
`f[x, y] = (f(x) - f(y)) / (x - y)` (Daleckii-Krein), and its second derivative needs `f[x, y, z]`.
Both are smooth functions of the eigenvalues, also where eigenvalues coincide. Differentiating
through `eigh` would divide by zero there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import MatrixFunction, adjoint, eigh, in_working_precision, sym
from torchmanifold.manifolds.maps.scalar_functions import (
    EXP,
    INV_SQRT,
    LOG,
    SQRT,
    SpectralFunction,
    Spectrum,
    fitted,
    second_difference,
)

__all__ = [
    "apply_spectral",
    "conjugate",
    "d2_exp",
    "d_exp",
    "d_log",
    "directional_derivative",
    "eigen",
    "spd_exp",
    "spd_inv_sqrt",
    "spd_log",
    "spd_sqrt",
    "spectral",
]


def _eigh(s: Tensor, function: SpectralFunction) -> tuple[Tensor, Tensor]:
    values, vectors = eigh(s)
    if function.positive:
        # eigh is exact to eps * max, so a zero or negative eigenvalue of that size is a rounding
        # error. It becomes a floor that is small enough to keep graded diagonal matrices exact.
        # With a more negative eigenvalue the matrix is not positive definite, and the value is NaN.
        eps = torch.finfo(values.dtype).eps
        largest = values[..., -1:].abs()
        noise = s.shape[-1] * eps * largest
        floored = torch.maximum(values, eps * eps * largest)
        values = torch.where(values.abs() <= noise, floored, values)
    return values, vectors


def _eigen(s: Tensor, function: Spectrum | None) -> tuple[Tensor, Tensor]:
    return _eigh(s, function) if isinstance(function, SpectralFunction) else eigh(s)


def conjugate(vectors: Tensor, x: Tensor) -> Tensor:
    """`U x U'`: from the eigenbasis `U` to the standard one."""
    return vectors @ x @ adjoint(vectors)


def _pairs(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.unsqueeze(-1), values.unsqueeze(-2)


class _Eigen(MatrixFunction):
    """Eigenvalues and eigenvectors, without derivative."""

    @staticmethod
    def forward(s: Tensor, function: Spectrum | None) -> tuple[Tensor, Tensor]:
        return _eigen(s, function)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output)


def eigen(s: Tensor, function: Spectrum | None = None) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors, without derivative; lifted if `function` needs it."""
    values, vectors = _Eigen.apply(s.detach(), function)
    return values, vectors


class _Spectral(MatrixFunction):
    """`f(S)`; the derivative is self-adjoint, so backward is the derivative along the gradient."""

    @staticmethod
    def forward(s: Tensor, function: Spectrum) -> tuple[Tensor, Tensor, Tensor]:
        values, vectors = _eigen(s, function)
        result = (vectors * fitted(function, values).value(values).unsqueeze(-2)) @ adjoint(vectors)
        return result, values, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        s, ctx.function = inputs
        _, values, vectors = output
        ctx.mark_non_differentiable(values, vectors)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(s, values, vectors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None]:
        if grad is None:
            return None, None
        s, values, vectors = ctx.saved_tensors
        return _SpectralDerivative.apply(s, grad, values, vectors, ctx.function), None


class _SpectralDerivative(MatrixFunction):
    """`Df(S)[E] = U (f[l_i, l_j] * (U'EU)) U'`, differentiable in `S` and `E`."""

    vectors = (2,)

    @staticmethod
    def forward(
        s: Tensor, e: Tensor, values: Tensor, vectors: Tensor, function: Spectrum
    ) -> Tensor:
        rotated = conjugate(adjoint(vectors), e)
        return conjugate(vectors, rotated.mul_(fitted(function, values).first(*_pairs(values))))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.function = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        s, e, values, vectors = ctx.saved_tensors
        grad_s = grad_e = None
        if ctx.needs_input_grad[1]:  # linear and self-adjoint in `E`
            grad_e = _SpectralDerivative.apply(s, grad, values, vectors, ctx.function)
        if ctx.needs_input_grad[0]:
            grad_s = _SpectralSecond.apply(s, adjoint(e), grad, values, vectors, ctx.function)
        return grad_s, grad_e, None, None, None


class _SpectralSecond(MatrixFunction):
    """`D^2 f(S)[A, B]`, differentiable in `A` and `B`; a derivative in `S` raises."""

    vectors = (3,)

    @staticmethod
    def forward(
        s: Tensor, a: Tensor, b: Tensor, values: Tensor, vectors: Tensor, function: Spectrum
    ) -> Tensor:
        pieces = fitted(function, values)
        a, b = (conjugate(adjoint(vectors), x) for x in (a, b))
        inner = _contract(pieces, values, a, b) + _contract(pieces, values, b, a)
        return conjugate(vectors, inner)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.function = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        s, a, b, values, vectors = ctx.saved_tensors
        if ctx.needs_input_grad[0]:
            raise NotImplementedError(
                "functions of a symmetric matrix have two derivatives here, not three"
            )
        grad_a, grad_b = (
            _SpectralSecond.apply(s, adjoint(x), grad, values, vectors, ctx.function)
            for x in (b, a)
        )
        return None, grad_a, grad_b, None, None, None


def _contract(function: SpectralFunction, values: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`sum_k f[l_i, l_k, l_j] a_ik b_kj`, a few rows at a time: there are `n^3` differences."""
    n = values.shape[-1]
    rows = max(1, 2**24 // max(1, n * values.numel()))
    x, y, z = values[..., :, None, None], values[..., None, :, None], values[..., None, None, :]
    parts = [
        (
            function.second(x[..., i : i + rows, :, :], y, z)
            * a[..., i : i + rows, :, None]
            * b[..., None, :, :]
        ).sum(-2)
        for i in range(0, max(1, n), rows)
    ]
    return torch.cat(parts, -2)


@in_working_precision
def apply_spectral(s: Tensor, function: Spectrum) -> Tensor:
    """Apply a `SpectralFunction` to the symmetric part of `s`, `(*batch, n, n)`."""
    return _Spectral.apply(sym(s), function)[0]


def spectral(s: Tensor, f: Callable[[Tensor], Tensor], df: Callable[[Tensor], Tensor]) -> Tensor:
    """Function of a symmetric matrix, `U diag(f(l)) U'` for `S = U diag(l) U'`.

    Gradients are finite at repeated eigenvalues: close eigenvalues use `df` at their mean.

    Args:
        s: `(*batch, n, n)`; its symmetric (Hermitian) part is used.
        f: elementwise function of the eigenvalues.
        df: its derivative, written in differentiable operations (for second derivatives).

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import spectral
        >>> spectral(torch.diag(torch.tensor([0.0, 1.0])), torch.sin, torch.cos)[1, 1]
        tensor(0.8415)

    Source: Higham, Functions of Matrices (2008), theorem 3.11 (Daleckii-Krein).
    """

    def d2f(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            slope = df(x)
            if not slope.requires_grad:
                return torch.zeros_like(x)
            return torch.autograd.grad(slope.sum(), x)[0]

    def first(x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(x, y)
        gap = x - y
        narrow = gap.abs() <= torch.finfo(gap.dtype).eps ** (1 / 3) * (
            1 + torch.maximum(x, y).abs()
        )
        return torch.where(narrow, df((x + y) / 2), (f(x) - f(y)) / gap.masked_fill(narrow, 1))

    second = second_difference(first, lambda m, p: d2f(m) / 2, lambda x: 1 + x.abs())
    return apply_spectral(s, SpectralFunction(f, first, second))


def spd_exp(s: Tensor) -> Tensor:
    """Exponential of a symmetric matrix: symmetric positive definite.

    Args:
        s: `(*batch, n, n)`; its symmetric part is used.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import spd_exp
        >>> spd_exp(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])

    Source: Arsigny et al., Geometric means in a novel vector space structure on symmetric
    positive-definite matrices, SIAM J. Matrix Anal. Appl. 29 (2007).
    """
    return apply_spectral(s, EXP)


def spd_log(p: Tensor) -> Tensor:
    """Principal logarithm of a symmetric positive definite matrix: the inverse of `spd_exp`.

    Args:
        p: `(*batch, n, n)`, symmetric positive definite.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import spd_log
        >>> bool(spd_log(torch.eye(2)).abs().max() < 1e-6)
        True

    Source: Higham, Functions of Matrices (2008), chapter 11.
    """
    return apply_spectral(p, LOG)


def spd_sqrt(p: Tensor) -> Tensor:
    """Symmetric positive definite square root, `R R = P`.

    Args:
        p: `(*batch, n, n)`, symmetric positive definite.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import spd_sqrt
        >>> spd_sqrt(4 * torch.eye(2))
        tensor([[2., 0.],
                [0., 2.]])

    Source: Higham, Functions of Matrices (2008), chapter 6.
    """
    return apply_spectral(p, SQRT)


def spd_inv_sqrt(p: Tensor) -> Tensor:
    """Inverse square root of a symmetric positive definite matrix, `R P R = I`.

    Args:
        p: `(*batch, n, n)`, symmetric positive definite.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import spd_inv_sqrt
        >>> spd_inv_sqrt(4 * torch.eye(2))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])

    Source: Higham, Functions of Matrices (2008), chapter 6.
    """
    return apply_spectral(p, INV_SQRT)


@in_working_precision
def directional_derivative(s: Tensor, e: Tensor, function: Spectrum) -> Tensor:
    """Derivative of a function of a symmetric matrix at `s` along `e`, `(*batch, n, n)`."""
    s = sym(s)
    values, vectors = eigen(s, function)
    return _SpectralDerivative.apply(s, e, values, vectors, function)


def d_exp(s: Tensor, e: Tensor) -> Tensor:
    """Derivative of the exponential at symmetric `s` along `e`, `d/dt exp(s + t e)` at 0.

    Args:
        s: `(*batch, n, n)`, symmetric.
        e: `(*batch, n, n)`, the direction.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import d_exp
        >>> d_exp(torch.zeros(2, 2), torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])

    Source: Higham, Functions of Matrices (2008), theorem 3.11.
    """
    return directional_derivative(s, e, EXP)


def d_log(p: Tensor, e: Tensor) -> Tensor:
    """Derivative of the logarithm at positive definite `p` along `e`; the inverse of `d_exp`.

    Args:
        p: `(*batch, n, n)`, symmetric positive definite.
        e: `(*batch, n, n)`, the direction.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import d_log
        >>> d_log(2 * torch.eye(2), torch.eye(2))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])

    Source: Higham, Functions of Matrices (2008), theorem 3.11.
    """
    return directional_derivative(p, e, LOG)


@in_working_precision
def d2_exp(s: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Second derivative of the exponential at symmetric `s` along `a` and `b`.

    Args:
        s: `(*batch, n, n)`, symmetric.
        a: `(*batch, n, n)`, one direction.
        b: `(*batch, n, n)`, the other.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import d2_exp
        >>> d2_exp(torch.zeros(2, 2), torch.eye(2), torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])

    Source: Higham, Functions of Matrices (2008), section 3.2.
    """
    s = sym(s)
    return _SpectralSecond.apply(s, a, b, *eigen(s, EXP), EXP)
