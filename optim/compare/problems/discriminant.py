"""Linear discriminants of the wines: a generalized eigenproblem on Grassmann."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import Grassmann
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets

__all__ = ["discriminant"]

DISCRIMINANTS = 2


def _loss(x: Tensor, between: Tensor, within: Tensor) -> Tensor:
    ratio = torch.linalg.solve_ex(x.mT @ within @ x, x.mT @ between @ x)[0]
    return -ratio.diagonal().sum() / DISCRIMINANTS


@cache
def _data() -> tuple[Tensor, Tensor, Tensor, float]:
    """Covariances between and within the classes, the solution, and its cost."""
    wines = datasets.wine()
    rows = (wines.data - wines.data.mean(0)) / wines.data.std(0)
    means = np.stack([rows[wines.target == k].mean(0) for k in range(3)])[wines.target]
    between, within = (a.T @ a / len(rows) for a in (means, rows - means))
    # With within = l l' this is the ordinary eigenproblem of l^-1 between l^-T.
    inverse = np.linalg.inv(np.linalg.cholesky(within))
    values, vectors = np.linalg.eigh(inverse @ between @ inverse.T)
    basis, _ = np.linalg.qr(inverse.T @ vectors[:, -DISCRIMINANTS:])
    cost = -float(values[-DISCRIMINANTS:].sum()) / DISCRIMINANTS
    return torch.from_numpy(between), torch.from_numpy(within), torch.from_numpy(basis), cost


@problem(
    Grassmann(),
    title="Linear discriminants of the wines, Gr(13, 2)",
    optimum="generalized eigenvalues, by Cholesky and eigh",
    reference="discriminant",
)
def discriminant(generator: torch.Generator) -> Instance:
    r"""Minimize `-tr((x'bx)^-1 (x'ax)) / 2` over the planes `x` of R^13.

    `a` and `b` are the covariances between and within the three classes of scikit-learn's wines,
    in standard units. This is the generalized eigenproblem `a v = s b v` of linear discriminant
    analysis. The optimum is minus the mean of its two nonzero eigenvalues.

    Source: Absil, Mahony & Sepulchre 2008, section 2.1.1; Fisher, The use of multiple measurements
    in taxonomic problems, Annals of Eugenics 7, 1936.

    Example:
        >>> discriminant.probe.solution.shape
        torch.Size([13, 2])
    """
    between, within, basis, cost = _data()
    initial = Grassmann().random(*basis.shape, generator=generator, dtype=torch.float64)
    return Instance(data=(between, within), loss=_loss, initial=initial, exact=cost, solution=basis)
