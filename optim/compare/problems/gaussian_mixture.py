"""A Gaussian mixture of the wines, on definite matrices and the simplex."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import (
    AffineInvariant,
    Blocks,
    Multinomial,
    Product,
    SymmetricPositiveDefinite,
)
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets

__all__ = ["gaussian_mixture"]

COMPONENTS = 3
FEATURES = 3
WINES = 10

Mixture = dict[str, Tensor]


def _features() -> tuple[np.ndarray, np.ndarray]:
    """The wines in their three leading components, in units of variance 1, and their cultivars."""
    wines = datasets.wine()
    rows = (wines.data - wines.data.mean(0)) / wines.data.std(0)
    left, _, _ = np.linalg.svd(rows, full_matrices=False)
    return left[:, :FEATURES] * math.sqrt(len(rows)), wines.target


def _expectation_maximization(rows: np.ndarray, parts: np.ndarray, sweeps: int = 5000) -> Mixture:
    """Update the shares of the rows in the components, and then the components, in turn."""
    shares, d = np.eye(COMPONENTS)[parts], rows.shape[1]
    for _ in range(sweeps):
        totals = shares.sum(0)
        means = (shares.T @ rows) / totals[:, None]
        centered = rows - means[:, None]
        covariances = np.einsum("nk,kni,knj->kij", shares, centered, centered)
        covariances /= totals[:, None, None]
        squares = np.einsum("kni,kij,knj->nk", centered, np.linalg.inv(covariances), centered)
        logs = np.log(totals) - np.linalg.slogdet(covariances)[1] / 2 - squares / 2
        before, shares = shares, np.exp(logs - logs.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        if np.abs(shares - before).max() < 1e-15:
            break
    moments = np.zeros((COMPONENTS, d + 1, d + 1))
    moments[:, :d, :d] = covariances + means[:, :, None] * means[:, None]
    moments[:, :d, d] = moments[:, d, :d] = means
    moments[:, d, d] = 1
    return {
        "moments": torch.from_numpy(moments).flatten(0, 1),
        "weights": torch.from_numpy(totals / totals.sum()),
    }


def _loss(x: Mixture, rows: Tensor) -> Tensor:
    # The density of (row, 1) under N(0, moments), times a constant. There is no host
    # synchronisation, and outside the cone the result is a NaN.
    d = rows.shape[-1]
    lifted = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=-1)
    chol, info = torch.linalg.cholesky_ex(x["moments"].unflatten(0, (COMPONENTS, d + 1)))
    white = torch.linalg.solve_triangular(chol, lifted.mT, upper=False)
    halves = chol.diagonal(dim1=-2, dim2=-1).log().sum(-1)[:, None]
    logs = x["weights"].log()[:, None] - halves - (white.square().sum(-2) - 1) / 2
    loss = d / 2 * math.log(2 * math.pi) - logs.logsumexp(0).mean()
    return torch.where((info == 0).all(), loss, torch.nan)


@cache
def _data() -> tuple[Tensor, Tensor, Mixture]:
    """Features, cultivars, and the mixture of largest likelihood."""
    rows, cultivars = _features()
    solution = _expectation_maximization(rows, cultivars)
    return torch.from_numpy(rows), torch.from_numpy(cultivars), solution


@problem(
    Product(
        moments=Blocks(SymmetricPositiveDefinite(metric=AffineInvariant()), COMPONENTS),
        weights=Multinomial(),
    ),
    title="Gaussian mixture of the wines, three components",
    optimum="expectation and maximization in NumPy",
    reference="gaussian-mixture",
)
def gaussian_mixture(generator: torch.Generator) -> Instance:
    r"""Minimize the mean negative log-likelihood of a mixture of three Gaussians in space.

    The rows are scikit-learn's 178 wines in three principal components. A Gaussian with mean `m`
    and covariance `c` is the definite matrix `[[c + mm', m], [m', 1]]` of second moments of
    `(row, 1)`, in SPD(4) with the affine-invariant metric; three such matrices are stacked. The
    corner is free, and is 1 at the optimum. The weights lie on the simplex.

    The problem is not convex: all methods begin with equal weights, the covariance of all rows, and
    the means of ten wines of each cultivar. The optimum is the limit of expectation and
    maximization from the cultivars.

    Source: Hosseini & Sra, Matrix manifold optimization for Gaussian mixtures, NIPS 2015.

    Example:
        >>> gaussian_mixture.probe.solution["moments"].shape
        torch.Size([12, 4])
    """
    rows, cultivars, solution = _data()
    noise = torch.rand(len(rows), generator=generator, dtype=torch.float64)
    chosen = [torch.where(cultivars == k, noise, -1).topk(WINES).indices for k in range(COMPONENTS)]
    means = torch.stack([rows[some].mean(0) for some in chosen])
    lifted = torch.cat([means, torch.ones_like(means[:, :1])], dim=-1)
    moments = lifted[:, :, None] * lifted[:, None]
    moments[:, :-1, :-1] += torch.cov(rows.mT, correction=0)
    return Instance(
        data=(rows,),
        loss=_loss,
        initial={
            "moments": moments.flatten(0, 1),
            "weights": torch.full((COMPONENTS,), 1 / COMPONENTS, dtype=torch.float64),
        },
        exact=float(_loss(solution, rows)),
        solution=solution,
    )
