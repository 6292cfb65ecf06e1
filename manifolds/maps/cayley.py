"""Cayley transform: skew to orthogonal by one inverse, its thin form and its inverse."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    MatrixFunction,
    add_product,
    add_product_,
    add_to_diagonal_,
    adjoint,
    eye_like,
    frobenius,
    in_working_precision,
    inverse,
    move,
    polish,
    polish_change,
    reads_values,
    skew,
    skew_norm_bound,
    skew_square,
    solve,
    transposed,
    wide,
)
from torchmanifold.manifolds.maps.steps import bounded_along, bounded_turn, is_long

__all__ = ["cayley", "cayley_step", "cayley_thin", "inverse_cayley"]


class _Cayley(MatrixFunction):
    """`X = Q - I` for a short skew A, `X = Q + I` for a long one; a mask of the short, None if all.

    `dX = dQ = M dA M` with `M = (I - A/2)^-1`, which is `I + X/2` or `X/2`. This form has neither
    the cancellation of `(I + Q) / 2` nor the rounding of the identity in `M dA M`.
    """

    @staticmethod
    def forward(a: Tensor) -> tuple[Tensor, Tensor | None]:
        # By the mean square of the singular values.
        short = frobenius(a) <= 3 * a.shape[-1] ** 0.5
        factor = add_to_diagonal_(a * -0.5, 1)
        if reads_values(a) and bool(short.all()):
            return solve(factor, a), None
        short = short[..., None, None]
        return solve(factor, torch.where(short, a, 2 * eye_like(a))), short

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        if output[1] is not None:
            ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> Tensor | None:
        if grad is None:
            return None
        x, short = ctx.saved_tensors
        return _between(adjoint(x), short, grad)


def _between(x: Tensor, short: Tensor | None, e: Tensor) -> Tensor:
    """`M E M`, with `M` given as in `_Cayley`."""

    def kept(e: Tensor) -> Tensor:
        return e if short is None else torch.where(short, e, 0)

    e = add_product(kept(e), x, e, alpha=0.5)
    return add_product(kept(e), e, x, alpha=0.5)


class _CayleyForward(_Cayley):
    """`_Cayley` with forward mode, which the compiler does not support."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        _Cayley.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*output)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> tuple[Tensor, None]:
        x, short = ctx.saved_tensors
        return _between(x, short, tangent), None


@in_working_precision
def cayley(a: Tensor) -> Tensor:
    """Cayley transform `Q = (I - A/2)^-1 (I + A/2)` of a skew matrix: orthogonal.

    The derivative is `dQ = M dA M` with `M = (I - A/2)^-1`: two products, no further solve, and no
    cancellation as in `M = (I + Q) / 2` at large norm. At small norm the products are formed with
    `M - I`, so the identity is not rounded in them.

    Args:
        a: `(*batch, n, n)`, skew-symmetric (skew-Hermitian: unitary `Q`).

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import cayley
        >>> cayley(torch.tensor([[0.0, 2.0], [-2.0, 0.0]]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])

    Source: Wen and Yin, A feasible method for optimization with orthogonality constraints,
    Math. Program. 142 (2013), section 2.
    """
    function = _Cayley if torch.compiler.is_compiling() else _CayleyForward
    x, short = function.apply(a)
    eye = eye_like(a)
    return x + (eye if short is None else torch.where(short, eye, -eye))


# B^2 + ... + B^8 = Y2 B^2 + (X3 B^2 + B^2 P)(X4 I + X5 B + X6 B^2 + B^2 P) with P = B / 2 + B^2:
# the geometric series in three products, by the scheme that exponential.py has from Bader, Blanes
# and Casas (2019).
_X3 = (math.sqrt(22) - 1) / 4


_X4, _X5, _X6 = 11 / 16 - 3 / 4 * _X3 + _X3**2, 5 / 8, 3 / 4 - _X3


_Y2 = 1 - _X3 * _X4


def _change(b: Tensor) -> Tensor:
    """`cayley(2 B) - I = 2 (I - B)^-1 - 2 I`, to the precision of the identity at least."""
    if not reads_values(b):
        return polish_change(solve(eye_like(b) - b, 2 * b))
    square = skew_square(b)
    theta = min(skew_norm_bound(b, square), 1.0)  # powers of a larger number could overflow
    level = torch.finfo(b.dtype).eps / 4
    # (B + B^2) 2 / (I - B^2), where -B^2 has eigenvalues from 0 to theta^2. On this interval the
    # best polynomials of degree 0 and 1 have the relative errors theta^2 / 2 and theta^4 / 8.
    if theta**3 / 2 <= level:
        return square.add_(b).mul_(2 - theta**2)
    if theta**5 / 8 <= level:
        right = (2 - 2 * theta**2) * square
        return square.add_(b) @ add_to_diagonal_(right, 2 - theta**4 / 4)
    steps = _newton_steps(theta, level, b.shape[-1])
    if steps is None:
        return polish_change(solve(eye_like(b) - b, 2 * b))
    p = torch.add(square, b, alpha=0.5)
    left = add_product(square, square, p, beta=_X3)
    right = torch.add(left, b, alpha=_X5, out=p).add_(square, alpha=_X6 - _X3)
    c = square.mul_(2 * _Y2).add_(b, alpha=2)
    add_product_(c, left, add_to_diagonal_(right, _X4), alpha=2)
    for _ in range(steps):  # each squares the residual
        residual = add_product_(torch.add(b, c, alpha=-0.5), b, c, alpha=0.5)
        c = add_product_(torch.add(c, residual, alpha=2), c, residual)
    return c


def _newton_steps(theta: float, level: float, n: int) -> int | None:
    """The number of Newton steps after the series of degree 8; None if an inverse is cheaper."""
    # An inverse and a polish cost as much as 7 products for large matrices, and 10 for small ones.
    powers = 9
    for steps in range(3 if n <= 128 else 2):
        if theta**powers <= level:
            return steps
        powers *= 2
    return None


class _CayleyStep(MatrixFunction):
    """`Y = X cayley(A)` with `A = skew(z)`, and the change `C = cayley(A) - I`.

    With `M = (I - A/2)^-1 = I + C/2`: `dY = X M dA M`, and `X M = (X + Y) / 2`.
    """

    @staticmethod
    def forward(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        c = _change(transposed(z).sub_(z).mul_(-0.25))
        return move(x, c), c

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, None
        x, z, y, c = ctx.saved_tensors
        for_x, for_z = ctx.needs_input_grad
        if torch.is_grad_enabled():  # a second derivative is recorded
            twice = 2 * inverse(eye_like(z) - skew(z) / 2)
            c, both = twice - 2 * eye_like(z), x @ twice
        else:
            both = x + y
        grad_x = add_product(grad, grad, adjoint(c)).sum_to_size(x.shape) if for_x else None
        if not for_z:
            return grad_x, None
        g = adjoint(both) @ grad
        g = add_product(g, g, adjoint(c), alpha=-0.125, beta=-0.25)
        return grad_x, transposed(g).sub_(g).sum_to_size(z.shape)


@in_working_precision
def cayley_step(x: Tensor, z: Tensor) -> Tensor:
    """`X cayley(skew(Z))`: from the rotation `X` along `X skew(Z)`.

    The change `cayley - I` is multiplied by `X` and added to it, because `X cayley(A)` would round
    the identity in every step. Near the base the change is a sum of powers, one to three
    products instead of an inverse. The derivative in `Z` is two products. On the CPU a long
    float32 step is computed in float64. The rounding error of `X` itself stays: a retraction ends
    in one Newton-Schulz step, which is left to the caller.

    Args:
        x: `(*batch, n, n)`, orthogonal.
        z: `(*batch, n, n)`, any matrix.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import cayley_step
        >>> cayley_step(torch.eye(2), torch.tensor([[0.0, 4.0], [0.0, 0.0]]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    z = bounded_turn(z)
    if is_long(z):
        return cayley_step(wide(x), wide(z)).to(x.dtype)
    return _CayleyStep.apply(x, z)[0]


@in_working_precision
def inverse_cayley(q: Tensor) -> Tensor:
    """Skew `A` with `cayley(A) = Q`: `A = 2 (I + Q)^-1 (Q - I)`.

    The inverse exists if `Q` has no eigenvalue -1. Otherwise the value is not finite, or has no
    correct digits.

    Args:
        q: `(*batch, n, n)`, orthogonal or unitary.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import inverse_cayley
        >>> inverse_cayley(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
        tensor([[ 0.,  2.],
                [-2.,  0.]])
    """
    eye = eye_like(q)
    return skew(2 * inverse(eye + q) @ (q - eye))


@in_working_precision
def cayley_thin(x: Tensor, v: Tensor) -> Tensor:
    """Cayley retraction on `n x p` orthonormal columns through one `p x p` inverse.

    With `S = skew(X'V)`, `K = V - X X'V`, `T = S/2 - K'K/4`, `b = (I - T)^-1`:
    `Y = X + X (2 b T) + K b`. It equals `cayley(W) X` for the `n x n` skew `W` of rank `2p`
    with `W X = V`, which is never formed. The change is added to the point, because rounding errors
    of the point itself would accumulate over the steps. A retraction ends in one Newton-Schulz
    step, which is left to the caller. On the CPU a long float32 step is computed in float64. A step
    longer than 1000 (10^5 in float32) is shortened to that length; on accelerators a float32 step
    is shortened to 30.

    Args:
        x: `(*batch, n, p)`, orthonormal columns.
        v: `(*batch, n, p)`, tangent at `x`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import cayley_thin
        >>> cayley_thin(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [2.0]]))
        tensor([[0.],
                [1.]])

    Source: Wen and Yin, A feasible method for optimization with orthogonality constraints,
    Math. Program. 142 (2013), lemma 4, by the Woodbury identity.
    """
    v = bounded_along(x, v)
    if is_long(v):
        # The point is orthonormal to float32 only, and a long step enlarges its residual.
        return _moved(polish(wide(x)), wide(v)).to(x.dtype)
    return _moved(x, v)


def _moved(x: Tensor, v: Tensor) -> Tensor:
    overlap = adjoint(x) @ v
    normal = v - x @ overlap
    t = skew(overlap) / 2 - adjoint(normal) @ normal / 4
    b = inverse(eye_like(t) - t)
    return x + (x @ (2 * b @ t) + normal @ b)
