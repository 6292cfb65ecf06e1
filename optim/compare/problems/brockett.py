"""Brockett's cost: eigenvectors in order, not only their span."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import Stiefel
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem

__all__ = ["brockett"]

SIDE, COLUMNS = 64, 4


def _loss(x: Tensor, a: Tensor, weights: Tensor) -> Tensor:
    return (x * (a @ x) * weights).sum() / 2


@problem(
    Stiefel(),
    title="Brockett cost, St(64, 4)",
    optimum="eigenvalues, closed form",
    reference="brockett",
)
def brockett(generator: torch.Generator) -> Instance:
    r"""Minimize `tr(x'a x n) / 2` over the orthonormal `x` of shape (64, 4).

    `a = q diag(d) q'` with a random orthogonal `q` and `d_i = 1 - 0.7^i`, `n = diag(1, 3/4, 1/2,
    1/4)`. The optimum pairs the largest weight with the smallest eigenvalue, `sum n_i d_i / 2`;
    the curvature there ranges from 0.026 to 1.

    Source: R. Brockett, Least squares matching problems, Linear Algebra Appl. 122, 1989;
    Absil, Mahony & Sepulchre 2008, section 4.8.

    Example:
        >>> brockett.probe.solution.shape
        torch.Size([64, 4])
    """
    rng = np.random.default_rng(0)
    vectors, _ = np.linalg.qr(rng.standard_normal((SIDE, SIDE)))
    values = 1 - 0.7 ** np.arange(SIDE)
    a = (vectors * values) @ vectors.T
    weights = np.linspace(1, 1 / COLUMNS, COLUMNS)
    initial = Stiefel().random(SIDE, COLUMNS, generator=generator, dtype=torch.float64)
    return Instance(
        data=(torch.from_numpy((a + a.T) / 2), torch.from_numpy(weights)),
        loss=_loss,
        initial=initial,
        exact=float(weights @ values[:COLUMNS]) / 2,
        solution=torch.from_numpy(vectors[:, :COLUMNS].copy()),
    )
