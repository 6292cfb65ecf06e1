"""QR retraction along the tangent part of any matrix: one function, with its own derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    MatrixFunction,
    accumulate,
    add_product,
    add_to_diagonal_,
    adjoint,
    everywhere,
    eye_like,
    gram_excess,
    in_working_precision,
    narrow,
    reads_values,
    sym,
    times_upper,
    times_upper_adjoint,
    transposed,
    upper_product,
    wide,
)
from torchmanifold.manifolds.maps.qr import near_qr_change, qr_step, refined_qr_change, up
from torchmanifold.manifolds.maps.steps import bounded, is_short

__all__ = ["projected_qr_step"]


def _moved(x: Tensor, z: Tensor) -> Tensor:
    """`x` and the tangent part of `z`."""
    s = adjoint(x) @ z
    return accumulate(x + z, x, transposed(s).add_(s), alpha=-0.5)


def _cholesky(y: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
    """`Q` and `R^-1` of `y = Q R`, from the Gram matrix `I + excess`."""
    eye = eye_like(y)
    r = torch.linalg.cholesky_ex(excess + eye, upper=True).L
    inverse = torch.linalg.solve_triangular(r, eye.expand_as(r), upper=True)
    return times_upper(y, inverse), inverse


def _factors(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """`Q` and `R^-1` for the sum of `x` and the tangent part of `z`."""
    if reads_values(z):
        y = _moved(x, z)
        excess = gram_excess(y)
        change, exact = near_qr_change(y, excess)
        if change is not None:
            change = change if exact else refined_qr_change(change, excess)
            return times_upper(y, change).add_(y), add_to_diagonal_(change, 1)
        if is_short(excess):
            return _cholesky(y, excess)
    y = _moved(wide(x), wide(z))
    if not reads_values(z):  # where values may be read, very long steps do not come here
        y = wide(x) + bounded(y - wide(x))
    q, inverse = _cholesky(y, gram_excess(y))
    if y.dtype == z.dtype:  # without a wider dtype a second pass is needed
        q, second = _cholesky(q, gram_excess(q))
        inverse = inverse @ second
    return narrow(q, z.dtype), narrow(inverse, z.dtype)


class _ProjectedQR(MatrixFunction):
    """`Q` and `R^-1` of `Q R = Y`, the sum of `x` and the tangent part of `z`.

    With `P` the upper triangle of `Q'G`, its diagonal halved, the gradient of `Y` is
    `g = (G - Q (P + P')) R^-H`, and that of `z` its tangent part.
    """

    @staticmethod
    def forward(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return _factors(x, z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, None
        x, z, q, inverse = ctx.saved_tensors
        for_x, for_z = ctx.needs_input_grad
        p = up(upper_product(q, grad))
        g = add_product(grad, q, transposed(p).add_(p), alpha=-1)
        again = torch.is_grad_enabled()
        if again:
            r = (adjoint(q) @ _moved(x, z)).triu()
            g = torch.linalg.solve_triangular(adjoint(r), g, upper=False, left=False)
        else:
            g = times_upper_adjoint(g, inverse)
        s = adjoint(x) @ g
        s = transposed(s).add_(s)
        grad_x = None
        if for_x:
            grad_x = add_product(g, g, sym(adjoint(x) @ z), alpha=-1)
            grad_x = add_product(grad_x, z, s, alpha=-0.5).sum_to_size(x.shape)
        if not for_z:
            return grad_x, None
        add = add_product if again else accumulate
        return grad_x, add(g, x, s, alpha=-0.5).sum_to_size(z.shape)


@in_working_precision
def projected_qr_step(x: Tensor, z: Tensor) -> Tensor:
    """Orthonormal QR factor of `X + V` with `V = Z - X sym(X'Z)`, the tangent part of `Z`.

    This is `qr_step` along a projected vector, as one function that takes four products of `n x p`
    matrices. Its derivative takes five.

    Args:
        x: `(*batch, n, p)`, orthonormal columns.
        z: `(*batch, n, p)`, any matrix.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import projected_qr_step
        >>> projected_qr_step(torch.tensor([[1.0], [0.0]]), torch.tensor([[5.0], [1.0]]))
        tensor([[0.7071],
                [0.7071]])

    Source: Absil, Mahony and Sepulchre, Optimization Algorithms on Matrix Manifolds (2008),
    examples 3.6.2 and 4.1.3.
    """
    if reads_values(z) and not everywhere(torch.linalg.vector_norm(z.detach()) <= 1e3):
        return qr_step(x, z - x @ sym(adjoint(x) @ z))  # qr_step checks whether it is too long
    return _ProjectedQR.apply(x, z)[0]
