"""Brockett's cost: eigenvectors in order, not only their span."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import Stiefel
from torchmanifold.optim.compare.problems.problem import Problem

__all__ = ["brockett"]

SIDE, COLUMNS = 64, 4


def _loss(x: Tensor, a: Tensor, weights: Tensor) -> Tensor:
    return (x * (a @ x) * weights).sum() / 2


def brockett() -> Problem:
    r"""Minimize `tr(x'a x n) / 2` over the orthonormal `x` of shape (64, 4).

    `a = q diag(d) q'` with a random orthogonal `q` and `d_i = 1 - 0.7^i`, `n = diag(1, 3/4, 1/2,
    1/4)`. The optimum pairs the largest weight with the smallest eigenvalue, `sum n_i d_i / 2`;
    the curvature there ranges from 0.026 to 1.

    Source: R. Brockett, Least squares matching problems, Linear Algebra Appl. 122, 1989;
    Absil, Mahony & Sepulchre 2008, section 4.8.

    Example:
        >>> brockett().solution.shape
        torch.Size([64, 4])
    """
    rng = np.random.default_rng(0)
    vectors, _ = np.linalg.qr(rng.standard_normal((SIDE, SIDE)))
    values = 1 - 0.7 ** np.arange(SIDE)
    a = (vectors * values) @ vectors.T
    weights = np.linspace(1, 1 / COLUMNS, COLUMNS)
    manifold = Stiefel()
    return Problem(
        name="brockett",
        title="Brockett cost, St(64, 4)",
        manifold=manifold,
        data=(torch.from_numpy((a + a.T) / 2), torch.from_numpy(weights)),
        loss=_loss,
        start=lambda g: manifold.random(SIDE, COLUMNS, generator=g, dtype=torch.float64),
        exact=float(weights @ values[:COLUMNS]) / 2,
        optimum="eigenvalues, closed form",
        solution=torch.from_numpy(vectors[:, :COLUMNS].copy()),
    )
