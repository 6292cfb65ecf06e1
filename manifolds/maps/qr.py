"""QR factor of any matrix, and of a step from orthonormal columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    MatrixFunction,
    adjoint,
    eye_like,
    frobenius,
    gram_excess,
    in_working_precision,
    narrow,
    reads_values,
    times_upper,
    upper_product,
    wide,
)
from torchmanifold.manifolds.maps.steps import allowed_residual, bounded, is_short, largest_norm

__all__ = ["near_qr_change", "qr", "qr_step", "refined_qr_change", "up"]


_QRFactors = tuple[Tensor, Tensor | None]  # q and r


class _QRDerivative(MatrixFunction):
    """The orthonormal factor `q` of `z = q r` with positive diagonal, with its derivative in `z`.

    `factors` computes it from `z`, and may use that `z` is the sum of `x` and `v`. The backward
    pass computes a factor that is None. With `P` the upper triangle of `q'G`, diagonal halved:
    `grad = (G - q (P + P')) r^-H`.
    """

    @staticmethod
    def forward(
        z: Tensor, factors: Callable[..., _QRFactors], x: Tensor | None, v: Tensor | None
    ) -> _QRFactors:
        return factors(z) if x is None else factors(z, x, v)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: _QRFactors) -> None:
        ctx.mark_non_differentiable(*(factor for factor in output[1:] if factor is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[0], *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        none = (None, None, None)
        if grad is None:
            return None, *none
        z, q, r = ctx.saved_tensors
        if r is None or torch.is_grad_enabled():
            r = (adjoint(q) @ z).triu()
        # A column in the span of the columns before it has no direction of its own, and no
        # derivative.
        singular = r.diagonal(dim1=-2, dim2=-1) == 0
        r = r + torch.diag_embed(torch.where(singular, torch.inf, 0.0))
        c = up(adjoint(q) @ grad)
        inner = grad - q @ (c + adjoint(c))
        return torch.linalg.solve_triangular(adjoint(r), inner, upper=False, left=False), *none


def _qr_factors(z: Tensor) -> _QRFactors:
    # The value does not depend on the scale; without scaling a norm could overflow.
    scale = z.abs().amax((-2, -1), keepdim=True)
    scale = scale.masked_fill(scale < 1e15, 1)
    q, r = torch.linalg.qr(z / scale)
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    phase = torch.where(diagonal == 0, torch.ones_like(diagonal), diagonal.sgn())
    return q * phase.unsqueeze(-2), r * phase.conj().unsqueeze(-1) * scale


@in_working_precision
def qr(z: Tensor) -> Tensor:
    """Orthonormal factor `Q` of `Z = Q R` with positive diagonal of `R`.

    The positive diagonal makes the factor unique, hence smooth.

    Args:
        z: `(*batch, n, p)`, `n >= p`, full rank.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import qr
        >>> qr(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])

    Source: Walter, Lehmann and Lamour, On evaluating higher-order derivatives of the QR
    decomposition, Optim. Methods Softw. 27 (2012).
    """
    if z.numel() == 0:
        return z
    return _QRDerivative.apply(z, _qr_factors, None, None)[0]


def up(x: Tensor) -> Tensor:
    """The upper triangle, its diagonal halved."""
    upper = x.triu()
    upper.diagonal(dim1=-2, dim2=-1).mul_(0.5)
    return upper


def _minus_up(z: Tensor) -> Tensor:
    """The matrix whose elementwise product with `x` is `-up(x)`."""
    minus = torch.full(2 * z.shape[-1:], -1, dtype=z.dtype, device=z.device).triu_()
    minus.diagonal().fill_(-0.5)
    return minus


def near_qr_change(z: Tensor, excess: Tensor) -> tuple[Tensor | None, bool]:
    """`R^-1 - I` of `z = Q R` by products, for `z'z = I + excess` near the identity.

    `R^-1 = I - U + (U^2 + up(U'U)) + O(U^3)` with `U = up(excess)`; and `U^2 + U'U` is the
    product `excess U`. The size of the excess decides how many terms are taken. The constants are
    those of an excess of rank one, which is the worst case.

    Returns:
        The change, or None if the excess is too large; and whether the change is exact to rounding.
        Otherwise it needs a second pass.
    """
    level = allowed_residual(z)
    minus = _minus_up(z)
    change = excess * minus  # -U
    if 0.75 * largest_norm(frobenius(excess)) ** 2 <= level:
        return change, True
    product = times_upper(excess, change)
    left = 1.8 * largest_norm(frobenius(product)) ** 1.5
    if not 0.75 * left**2 <= level:
        return None, False
    diagonal = change.diagonal(dim1=-2, dim2=-1)
    squares = diagonal.square()
    change.addcmul_(product, minus)
    diagonal.add_(squares, alpha=0.5)
    return change, left <= level


def refined_qr_change(change: Tensor, excess: Tensor) -> Tensor:
    """The second pass on `R^-1 - I`, by products of `p x p` matrices only."""
    gram = times_upper(excess, change).add_(excess).add_(change)
    left = upper_product(change, gram).add_(gram).add_(adjoint(change))  # of R^-H (I + excess) R^-1
    second = left.mul_(_minus_up(left))
    return times_upper(change, second).add_(change).add_(second)


def _near_qr(z: Tensor, excess: Tensor) -> Tensor | None:
    """The QR factor of `z` by products, for `z'z = I + excess` near the identity."""
    change, exact = near_qr_change(z, excess)
    if change is None:
        return None
    if not exact and z.shape[-2] >= 2 * z.shape[-1]:
        change, exact = refined_qr_change(change, excess), True
    y = times_upper(z, change).add_(z)
    if exact:
        return y
    return times_upper(y, gram_excess(y).mul_(_minus_up(z))).add_(y)


def _cholesky_qr(z: Tensor, gram: Tensor) -> Tensor:
    r = torch.linalg.cholesky_ex(gram, upper=True).L
    return torch.linalg.solve_triangular(r, z, upper=True, left=False)


def _qr_step_factors(z: Tensor, x: Tensor, v: Tensor) -> _QRFactors:
    if reads_values(v):
        excess = gram_excess(z)
        q = _near_qr(z, excess)
        if q is None and is_short(excess):
            q = _cholesky_qr(z, excess + eye_like(z))
        if q is not None:
            return q, None
    z = wide(x) + wide(v)
    q = _cholesky_qr(z, adjoint(z) @ z)
    # A second pass, if the dtype was not widened or the step is known to be long.
    if z.dtype == v.dtype or reads_values(v):
        q = _cholesky_qr(q, adjoint(q) @ q)
    return narrow(q, v.dtype), None


@in_working_precision
def qr_step(x: Tensor, v: Tensor) -> Tensor:
    """Orthonormal QR factor of `X + V`, by products or by Cholesky-QR.

    For a tangent `V` the product `X'V` is skew, so the Gram matrix of `X + V` is `I + V'V`. For a
    short step it is near the identity, and a series, or one pass of Cholesky-QR in the working
    precision, is accurate. Long steps, and all steps on an accelerator, use Cholesky-QR with a Gram
    matrix in float64. The Gram matrix is formed from `X + V`, not from `V`, so a step corrects the
    rounding errors of earlier steps.

    Args:
        x: `(*batch, n, p)`, orthonormal columns.
        v: `(*batch, n, p)`, tangent at `x` (`x'v` skew).

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import qr_step
        >>> qr_step(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]]))
        tensor([[0.7071],
                [0.7071]])

    Source: Absil, Mahony and Sepulchre, Optimization Algorithms on Matrix Manifolds (2008),
    example 4.1.3; Yamamoto et al., Roundoff error analysis of the CholeskyQR2 algorithm,
    ETNA 44 (2015).
    """
    v = bounded(v)
    return _QRDerivative.apply(x + v, _qr_step_factors, x, v)[0]
