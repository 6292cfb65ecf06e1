"""Doubly stochastic matrices from logits: Sinkhorn scaling with its implicit derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import MatrixFunction, in_working_precision, reads_values

__all__ = ["doubly_stochastic", "scaling_tangent"]

SWEEPS = 10  # sweeps before Newton's method takes over
STEPS = 40  # the largest number of steps of Newton's method
LONGEST = 2.0  # the longest step in the logarithms: farther out the quadratic model is useless


def scaling_tangent(x: Tensor, z: Tensor) -> Tensor:
    """`z - (a 1' + 1 b') o x` with rows and columns that add to zero.

    It takes one symmetric `n x n` system, `(I - x x' + 1 1' / n) a = z 1 - x z' 1`, which is
    positive definite for a positive doubly stochastic `x`.

    Args:
        x: `(*batch, n, n)`, doubly stochastic.
        z: `(*batch, n, n)`.

    Source: Douik & Hassibi, Manifold optimization over the set of doubly stochastic matrices,
    IEEE Trans. Signal Process. 67 (2019), theorem 2.
    """
    n = x.shape[-1]
    eye = torch.eye(n, dtype=x.dtype, device=x.device)
    rows, columns = z.sum(-1, keepdim=True), z.sum(-2).unsqueeze(-1)
    system = eye - x @ x.mT + 1 / n
    # Near a permutation, rounding errors make the system indefinite.
    a = torch.linalg.solve_ex(system, rows - x @ columns).result
    b = columns - x.mT @ a
    return z - (a + b.mT) * x


class _Scaling(MatrixFunction):
    """Sinkhorn's limit; its derivative is the tangent projection, which needs no sweep."""

    @staticmethod
    def forward(logits: Tensor) -> Tensor:
        f = logits - logits.logsumexp(-1, keepdim=True)
        eps = torch.finfo(logits.dtype).eps
        for step in range(SWEEPS + STEPS):
            columns = f.logsumexp(-2, keepdim=True)
            if reads_values(f) and not bool((columns.abs() > 2 * eps).any()):
                break
            f = f + (_newton(f) if step >= SWEEPS else -columns)
            f = f - f.logsumexp(-1, keepdim=True)
        return f.exp()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return scaling_tangent(x, x * grad)


def _newton(f: Tensor) -> Tensor:
    """A step of Newton's method on the dual problem, from logarithms whose rows add to one."""
    x = f.exp()
    columns = x.sum(-2)
    # A constant added to all columns changes nothing, so the last term makes the constant zero.
    system = torch.diag_embed(columns) - x.mT @ x + 1 / x.shape[-1]
    b = torch.linalg.solve_ex(system, (1 - columns).unsqueeze(-1)).result.mT
    b = torch.where(torch.isfinite(b).all(-1, keepdim=True), b, -f.logsumexp(-2, keepdim=True))
    longest = b.abs().amax(-1, keepdim=True)
    return b * (LONGEST / longest.clamp_min(LONGEST))


@in_working_precision
def doubly_stochastic(logits: Tensor) -> Tensor:
    r"""The doubly stochastic matrix `diag(r) exp(logits) diag(c)`, by Sinkhorn's iteration.

    Rows and columns of `exp(logits)` are scaled in turn, in the log domain. After ten sweeps
    Newton's method on the dual problem takes over. Each of its steps needs a linear solve, and a
    few steps reach rounding level where Sinkhorn's iteration would take thousands. On the CPU the
    iteration stops there; on an accelerator it has a fixed length. The implicit function theorem
    gives the derivative from the limit, by one linear solve, and no iterate is kept. If logits
    differ by more than about 100 in float32, the sums may differ from one.

    Args:
        logits: `(*batch, n, n)`, real.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import doubly_stochastic
        >>> x = doubly_stochastic(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        >>> x.sum(0), x.sum(1)
        (tensor([1., 1.]), tensor([1., 1.]))

    Source: Sinkhorn, A relationship between arbitrary positive matrices and doubly stochastic
    matrices, Ann. Math. Stat. 35 (1964); Eisenberger et al., A unified framework for implicit
    Sinkhorn differentiation, CVPR 2022; Knight & Ruiz, A fast algorithm for matrix balancing, IMA
    J. Numer. Anal. 33 (2013).
    """
    if logits.ndim < 2 or logits.shape[-1] != logits.shape[-2]:
        raise ValueError(f"doubly_stochastic: logits must be square, got {tuple(logits.shape)}")
    if logits.numel() == 0:
        return logits.clone()
    found: Tensor = _Scaling.apply(logits)
    return found
