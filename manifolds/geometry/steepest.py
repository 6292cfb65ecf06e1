"""Directions of steepest ascent in the spectral norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.guard import guarded
from torchmanifold.manifolds.linalg import product_in, skew
from torchmanifold.manifolds.maps.polar_direction import polar_direction

if TYPE_CHECKING:
    from torchmanifold.manifolds.geometry.manifold import Manifold

__all__ = ["polar_steepest", "square_steepest"]


@guarded
def polar_steepest(
    M: Manifold, x: Tensor, egrad: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """The approximate polar factor of the Riemannian gradient, projected to the tangent space.

    Among matrices of spectral norm 1 the polar factor is the direction of steepest ascent. Among
    tangent matrices of spectral norm 1 it is the steepest exactly on square matrices with
    orthonormal columns, apart from its singular values, which are in [0.88, 1.12]. On tall matrices
    it is so within about a tenth, and saves an inner iteration. A vector is a matrix with one
    column, and its direction is the normalized gradient.

    Args:
        M: the manifold.
        x: points `(*batch, *event)` of at most two dimensions each.
        egrad: Euclidean gradients there.
        dtype: the dtype in which the polar factor is computed, see `maps.polar_direction`.

    Source: Bernstein & Newhouse, Old optimizer, new norm, arXiv 2409.20325, for the polar factor;
    Bernstein, Modular manifolds, Thinking Machines Lab 2025, for the problem on tangent spaces.
    """
    if M.event_ndim > 2:
        M.lacks("steepest direction")
    g = M.gradient(x, egrad)
    matrix = g.reshape(*g.shape, *[1] * (2 - M.event_ndim))
    return M.tangent(x, polar_direction(matrix, dtype=dtype).reshape(g.shape))


def square_steepest(
    M: Manifold, x: Tensor, egrad: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """The same on square orthogonal (unitary) matrices: `x` times the polar factor of `skew(x'g)`.

    It is exact, apart from the singular values of `polar_direction`: the polar factor of a skew
    matrix is skew, so a projection is not needed. It makes one product in the precision of `x`,
    where `polar_steepest` makes two.
    """
    # In half precision the polar factor is not exactly skew.
    a = skew(polar_direction(skew(x.mH @ egrad), dtype=dtype))
    return product_in(dtype, x, a)
