"""What the manifolds of factors `Y` share whose points are `Y Y'`, whatever orthogonal `Y Q`.

Source: Massart & Absil, Quotient geometry with simple geodesics for the manifold of fixed-rank
positive-semidefinite matrices, SIAM J. Matrix Anal. Appl. 41, 2020.
"""

from __future__ import annotations

from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import skew

__all__ = ["aligned", "horizontal", "refuse_wide"]


def horizontal(y: Tensor, z: Tensor) -> Tensor:
    """`z` without its part `Y W`, `W` skew, that turns the columns: `Y'z` becomes symmetric."""
    gram = y.mH @ y
    for _ in range(2):  # the second removes what the condition of the Gram matrix has left
        z = z - y @ skew(maps.solve_lyapunov(gram, 2 * skew(y.mH @ z)))
    return z


def aligned(y: Tensor, z: Tensor) -> Tensor:
    """The factor `z Q` that is nearest to `y`, with `Q` orthogonal."""
    return z @ maps.polar(z.mH @ y)


def refuse_wide(name: str, shape: tuple[int, ...]) -> None:
    """Raise a ValueError for what is no factor of a rank below its number of rows."""
    if len(shape) < 2 or not 1 <= shape[-1] <= shape[-2]:
        raise ValueError(
            f"{name}: a point is a factor Y of Y Y' with at least as many rows as columns, got the "
            f"shape {tuple(shape)}; its number of columns is the rank"
        )
