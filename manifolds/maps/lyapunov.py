"""The Lyapunov equation of a positive definite matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import MatrixFunction, adjoint, in_working_precision, sym
from torchmanifold.manifolds.maps.spectral import conjugate, eigen

__all__ = ["solve_lyapunov"]


class _Lyapunov(MatrixFunction):
    """Solution of `X P + P X = U`, given eigenvalues and eigenvectors of `P`."""

    vectors = (2,)

    @staticmethod
    def forward(p: Tensor, u: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
        total = values.unsqueeze(-1) + values.unsqueeze(-2)
        # If p is singular, the equation does not determine all entries: take the least solution.
        inverse = total.masked_fill_(total == 0, torch.inf).reciprocal_()
        return conjugate(vectors, inverse * conjugate(adjoint(vectors), u))

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
    return _Lyapunov.apply(p, u, *eigen(p))
