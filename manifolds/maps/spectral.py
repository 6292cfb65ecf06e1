"""Functions of symmetric (Hermitian) matrices, with derivatives that stay finite.

A scalar function acts on a symmetric matrix through its eigenvalues,
`f(S) = U diag(f(l)) U'`. Its derivative is a Schur product in the eigenbasis with the
*divided differences* `f[x, y] = (f(x) - f(y)) / (x - y)` (Daleckii-Krein), and its second
derivative needs `f[x, y, z]`. Both are smooth functions of the eigenvalues, also where
eigenvalues coincide; differentiating through `eigh` instead divides by zero there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import adjoint, in_working_precision, sym
from torchmanifold.manifolds.maps.batching import MatrixFunction
from torchmanifold.manifolds.maps.domain import (
    largest,
    require_finite,
    require_positive_definite,
    require_symmetric,
    slack,
)

__all__ = [
    "Cholesky",
    "Softplus",
    "SpdExponential",
    "SpdLogarithm",
    "SpectralFunction",
    "Square",
    "apply_spectral",
    "d_exp",
    "d_log",
    "directional_derivative",
    "solve_lyapunov",
    "spd_exp",
    "spd_inv_sqrt",
    "spd_log",
    "spd_sqrt",
    "spectral",
]


@dataclass(frozen=True)
class SpectralFunction:
    """A scalar function with its first and second divided differences.

    Attributes:
        value: `f(x)`.
        first: `f[x, y]`, finite for `x = y`.
        second: `f[x, y, z]`, finite for coinciding arguments.
        positive: the argument must be positive; eigenvalues of a positive definite matrix
            that rounding made non-positive are lifted to a floor.
    """

    value: Callable[[Tensor], Tensor]
    first: Callable[[Tensor, Tensor], Tensor]
    second: Callable[[Tensor, Tensor, Tensor], Tensor]
    positive: bool = False


# A spectral function, or one whose pieces depend on all the values, `(*batch, n)`. It is fitted
# to them where it is evaluated: a closure over a tensor would escape the transforms of torch.func.
Spectrum = SpectralFunction | Callable[[Tensor], SpectralFunction]


def _at(function: Spectrum, values: Tensor) -> SpectralFunction:
    return function if isinstance(function, SpectralFunction) else function(values)


def _second(
    first: Callable[[Tensor, Tensor], Tensor],
    series: Callable[[Tensor, Tensor], Tensor],
    scale: Callable[[Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Second divided difference by the quotient over the widest gap, or a series if that is narrow.

    Around the mean `m` with `p2` the sum of squared deviations,
    `f[x, y, z] = f''(m) / 2 + f''''(m) p2 / 48 + O(gap^3)`: with the switch at `eps^(1/4)`
    both branches are right to about `eps^(3/4)`.
    """

    def second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        low, mid, high = torch.stack(torch.broadcast_tensors(x, y, z)).sort(0).values.unbind(0)
        gap = high - low
        narrow = gap <= torch.finfo(gap.dtype).eps ** 0.25 * scale(high)
        mean = (low + mid + high) / 3
        spread = (low - mean) ** 2 + (mid - mean) ** 2 + (high - mean) ** 2
        quotient = (first(mid, high) - first(low, mid)) / gap.masked_fill(narrow, 1)
        return torch.where(narrow, series(mean, spread), quotient)

    return second


def _exp_first(x: Tensor, y: Tensor) -> Tensor:
    # Around the larger argument: nothing overflows that exp itself does not. The least
    # positive number for a zero gap gives the limit, without a mask.
    gap = (x - y).abs_().clamp_min_(torch.finfo(x.dtype).tiny).neg_()
    return torch.expm1(gap).div_(gap).mul_(torch.maximum(x.exp(), y.exp()))


def _log_first(x: Tensor, y: Tensor) -> Tensor:
    low = torch.minimum(x, y)
    ratio = (x - y).abs_().div_(low).clamp_min_(torch.finfo(x.dtype).tiny)
    return torch.log1p(ratio).div_(ratio).div_(low)


def _sqrt_second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    a, b, c = x.sqrt(), y.sqrt(), z.sqrt()
    return -1 / ((a + b) * (b + c) * (c + a))


def _inv_sqrt_first(x: Tensor, y: Tensor) -> Tensor:
    a, b = x.sqrt(), y.sqrt()
    return -1 / (a * b * (a + b))


def _inv_sqrt_second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    a, b, c = x.sqrt(), y.sqrt(), z.sqrt()
    return (a + b + c) / (a * b * c * (a + b) * (b + c) * (c + a))


EXP = SpectralFunction(
    torch.exp,
    _exp_first,
    _second(_exp_first, lambda m, p: m.exp() * (0.5 + p / 48), torch.ones_like),
)
LOG = SpectralFunction(
    torch.log,
    _log_first,
    _second(_log_first, lambda m, p: -(0.5 + p / (8 * m * m)) / (m * m), torch.abs),
    positive=True,
)
SQRT = SpectralFunction(
    torch.sqrt, lambda x, y: 1 / (x.sqrt() + y.sqrt()), _sqrt_second, positive=True
)
INV_SQRT = SpectralFunction(torch.rsqrt, _inv_sqrt_first, _inv_sqrt_second, positive=True)


def reads_values(x: Tensor) -> bool:
    """May an algorithm be chosen from a value? Not on an accelerator, not while tracing."""
    return (
        x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()
    )


def _bad(x: Tensor) -> Tensor | None:
    """Which matrices are not finite, `(*batch, 1)`; None if none is, where that may be read."""
    # A finite sum has finite terms. It takes a fiftieth of the time of the norms on the CPU.
    if reads_values(x) and bool(torch.isfinite(x.sum())):
        return None
    bad = ~torch.isfinite(torch.linalg.vector_norm(x, ord=torch.inf, dim=(-2, -1)))[..., None]
    return None if reads_values(x) and not bool(bad.any()) else bad


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


def _eigh(s: Tensor, function: SpectralFunction) -> tuple[Tensor, Tensor]:
    values, vectors = eigh(s)
    if function.positive:
        # eigh is exact to eps * max: a zero or negative eigenvalue of that size is rounding,
        # and becomes a floor small enough to keep graded diagonal matrices exact. Anything
        # more negative is not positive definite and gives NaN, as the function of it would.
        eps = torch.finfo(values.dtype).eps
        largest = values[..., -1:].abs()
        noise = s.shape[-1] * eps * largest
        floored = torch.maximum(values, eps * eps * largest)
        values = torch.where(values.abs() <= noise, floored, values)
    return values, vectors


def _conjugate(vectors: Tensor, x: Tensor) -> Tensor:
    return vectors @ x @ adjoint(vectors)


def _pairs(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.unsqueeze(-1), values.unsqueeze(-2)


class _Eigen(MatrixFunction):
    """Eigenvalues and eigenvectors, without derivative."""

    @staticmethod
    def forward(s: Tensor, function: Spectrum | None) -> tuple[Tensor, Tensor]:
        if isinstance(function, SpectralFunction):
            return _eigh(s, function)
        return eigh(s)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output)


class _Spectral(MatrixFunction):
    """`f(S)`; the derivative is self-adjoint, so backward is the derivative along the gradient."""

    @staticmethod
    def forward(s: Tensor, function: SpectralFunction) -> tuple[Tensor, Tensor, Tensor]:
        values, vectors = _eigh(s, function)
        result = (vectors * function.value(values).unsqueeze(-2)) @ adjoint(vectors)
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
        rotated = _conjugate(adjoint(vectors), e)
        return _conjugate(vectors, rotated.mul_(_at(function, values).first(*_pairs(values))))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.function = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        s, e, values, vectors = ctx.saved_tensors
        grad_s = grad_e = None
        if ctx.needs_input_grad[1]:  # linear and self-adjoint in `E`: to be differentiated again
            grad_e = _SpectralDerivative.apply(s, grad, values, vectors, ctx.function)
        if ctx.needs_input_grad[0]:
            grad_s = _SpectralSecond.apply(s, adjoint(e), grad, values, vectors, ctx.function)
        return grad_s, grad_e, None, None, None


class _SpectralSecond(MatrixFunction):
    """`D^2 f(S)[A, B]`, differentiable in `A` and `B`; in `S` differentiation ends, loudly."""

    vectors = (3,)

    @staticmethod
    def forward(
        s: Tensor, a: Tensor, b: Tensor, values: Tensor, vectors: Tensor, function: Spectrum
    ) -> Tensor:
        fitted = _at(function, values)
        a, b = (_conjugate(adjoint(vectors), x) for x in (a, b))
        inner = _contract(fitted, values, a, b) + _contract(fitted, values, b, a)
        return _conjugate(vectors, inner)

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
    """`sum_k f[l_i, l_k, l_j] a_ik b_kj`, a few rows at a time: the differences are `n^3`."""
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
def apply_spectral(s: Tensor, function: SpectralFunction) -> Tensor:
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

    second = _second(first, lambda m, p: d2f(m) / 2, lambda x: 1 + x.abs())
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
    values, vectors = _Eigen.apply(s.detach(), function)
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


class _Lyapunov(MatrixFunction):
    """Solution of `X P + P X = U`, given eigenvalues and eigenvectors of `P`."""

    vectors = (2,)

    @staticmethod
    def forward(p: Tensor, u: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
        total = values.unsqueeze(-1) + values.unsqueeze(-2)
        # Where p is singular the equation fixes nothing: take the least solution.
        inverse = total.masked_fill_(total == 0, torch.inf).reciprocal_()
        return _conjugate(vectors, inverse * _conjugate(adjoint(vectors), u))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        p, _, values, vectors = inputs
        ctx.save_for_backward(p, output, values, vectors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        p, x, values, vectors = ctx.saved_tensors
        z = _Lyapunov.apply(p, grad, values, vectors)
        return -sym(adjoint(x) @ z + z @ adjoint(x)), z, None, None


@in_working_precision
def solve_lyapunov(p: Tensor, u: Tensor) -> Tensor:
    """Solve `X P + P X = U` for symmetric positive definite `P`.

    In the eigenbasis of `P` the solution is `u_ij / (l_i + l_j)`: sums, never differences.

    Args:
        p: `(*batch, n, n)`, symmetric positive definite.
        u: `(*batch, n, n)`, any matrix; symmetric or skew `U` gives symmetric or skew `X`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import solve_lyapunov
        >>> solve_lyapunov(torch.eye(2), torch.ones(2, 2))
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])

    Source: Bhatia, Matrix Analysis (1997), section VII.2.
    """
    p = sym(p)
    return _Lyapunov.apply(p, u, *_Eigen.apply(p.detach(), None))


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
    # Not nn.functional.softplus: that is linear beyond a threshold, so its slope jumps.
    return torch.logaddexp(x, torch.zeros_like(x))


def _inverse_softplus(y: Tensor) -> Tensor:
    return y + torch.log(-torch.expm1(-y))


class Softplus(nn.Module):
    """Symmetric to positive definite by `log(1 + exp(l))` on the eigenvalues.

    Grows linearly where the exponential overflows.

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
    """Eigenvalues, and a factor of `p` with `rank` columns: the square root if these are all."""
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
        rank: columns of the right inverse; by default all of them.

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
        """What must agree for two of these maps to be evaluated together."""
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

    Positive definite for every `z`, by products alone; entries above the diagonal are unused.

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
