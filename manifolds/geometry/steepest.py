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
    """The polar factor of the Riemannian gradient, nearly, projected to the tangent space.

    Among matrices of spectral norm 1 the polar factor is the direction of steepest ascent. Among
    those that are tangent too, it is so exactly on square matrices with orthonormal columns (but
    for its singular values, which are in [0.88, 1.12]), and within about a tenth on tall ones,
    where it spares an inner iteration. A vector is a matrix with one column: its direction is
    the normalized gradient.

    Args:
        M: the manifold.
        x: points `(*batch, *event)` of at most two dimensions each.
        egrad: Euclidean gradients there.
        dtype: in which the polar factor is computed, see `maps.polar_direction`.

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

    It is exact, but for the singular values of `polar_direction`: the polar factor of a skew
    matrix is skew, so that nothing is left to project. One product is made in the precision of
    `x`, where `polar_steepest` makes two.
    """
    # Half precision leaves the polar factor not quite skew.
    a = skew(polar_direction(skew(x.mH @ egrad), dtype=dtype))
    return product_in(dtype, x, a)
