"""The parts that manifolds of factors `Y` share; `Y` and `Y Q` stand for the same matrix `Y Y'`.

Source: Massart & Absil, Quotient geometry with simple geodesics for the manifold of fixed-rank
positive-semidefinite matrices, SIAM J. Matrix Anal. Appl. 41, 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import skew

__all__ = ["aligned", "horizontal", "refuse_wide"]


def horizontal(y: Tensor, z: Tensor) -> Tensor:
    """`z` without `Y W`, `W` skew, the part that rotates the columns: `Y'z` becomes symmetric."""
    # The factor counts up to its size only; of size 1 it has a Gram matrix that does not overflow.
    size = y.detach().abs().amax((-2, -1), keepdim=True)
    y = y / torch.where(size > 0, size, 1.0)
    gram = y.mH @ y
    for _ in range(2):  # the second removes the error of an ill-conditioned Gram matrix
        z = z - y @ skew(maps.solve_lyapunov(gram, 2 * skew(y.mH @ z)))
    return z


def aligned(y: Tensor, z: Tensor) -> Tensor:
    """The factor `z Q` that is nearest to `y`, with `Q` orthogonal."""
    return z @ maps.polar(z.mH @ y)


def refuse_wide(name: str, shape: tuple[int, ...]) -> None:
    """Raise a ValueError for a shape with more columns than rows."""
    if len(shape) < 2 or not 1 <= shape[-1] <= shape[-2]:
        raise ValueError(
            f"{name}: a point is a factor Y of Y Y' with at least as many rows as columns, got the "
            f"shape {tuple(shape)}; its number of columns is the rank"
        )
