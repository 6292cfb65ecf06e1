"""Rotations that agree best with measured ones, by power iteration."""

from __future__ import annotations

import numpy as np

__all__ = ["aligned", "nearest_rotations"]


def nearest_rotations(blocks: np.ndarray) -> np.ndarray:
    """The nearest rotation of each block, by the singular value decomposition (Kabsch)."""
    u, _, vh = np.linalg.svd(blocks)
    u[..., -1] *= np.sign(np.linalg.det(u @ vh))[..., None]
    return u @ vh


def aligned(cost: np.ndarray, d: int, sweeps: int = 20000) -> np.ndarray:
    """Minimize `tr(x' cost x)` over the rotations `x`, stacked, by the power method.

    It begins at the rotations nearest to the least eigenvectors of the cost, and iterates
    `x <- nearest((c - cost) x)`, with a shift `c` for each block, until nothing moves.

    Args:
        cost: positive semidefinite, `(n d, n d)`.
        d: 2 or 3.
        sweeps: the largest number of sweeps.

    Returns:
        The rotations, `(n, d, d)`.

    Source: Boumal, Nonconvex phase synchronization, SIAM J. Optim. 26, 2016, for
    rotations of the plane.
    """
    _, vectors = np.linalg.eigh(cost)
    x = vectors[:, :d].reshape(-1, d, d)
    if np.linalg.det(x).sum() < 0:
        x[..., -1] *= -1
    x = nearest_rotations(x)
    # The shift makes it diagonally dominant, so the linear bound holds and no sweep raises the
    # cost.
    shift = np.abs(cost).sum(1).reshape(-1, d).max(1)[:, None, None]
    for _ in range(sweeps):
        before = x
        x = nearest_rotations(shift * x - (cost @ x.reshape(-1, d)).reshape(x.shape))
        if np.abs(x - before).max() < 1e-15:
            break
    return x
