"""The correlation matrix nearest to an indefinite one, computed from data with gaps."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import Elliptope
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets

__all__ = ["nearest_correlation"]

MISSING = 0.7


def _pairwise() -> np.ndarray:
    """Correlations of the 13 features of the wines, each from the rows where both are known."""
    rng = np.random.default_rng(0)
    rows = datasets.wine().data
    rows = np.where(rng.random(rows.shape) < MISSING, np.nan, rows)
    out = np.eye(rows.shape[1])
    for i, j in zip(*np.triu_indices(len(out), 1), strict=True):
        both = rows[:, [i, j]][~np.isnan(rows[:, [i, j]]).any(1)]
        out[i, j] = out[j, i] = np.corrcoef(both.T)[0, 1]
    return out


def _alternating(a: np.ndarray, sweeps: int = 20000) -> np.ndarray:
    """Higham's alternating projections with Dykstra's correction, in float64."""
    y, correction = a, np.zeros_like(a)
    for _ in range(sweeps):
        r = y - correction
        values, vectors = np.linalg.eigh(r)
        x = (vectors * values.clip(0)) @ vectors.T
        correction = x - r
        before, y = y, x - np.diag(np.diag(x) - 1)
        if np.abs(y - before).max() < 1e-16:
            break
    return x


def _factor(x: np.ndarray) -> np.ndarray:
    """A factor of `x` with as many columns as its rank."""
    values, vectors = np.linalg.eigh(x)
    kept = values > 1e-8 * values[-1]
    factor = vectors[:, kept] * np.sqrt(values[kept])
    return factor / np.linalg.norm(factor, axis=1, keepdims=True)


def _loss(y: Tensor, a: Tensor) -> Tensor:
    return (y @ y.mT - a).square().sum() / 4


@cache
def _data() -> tuple[Tensor, Tensor]:
    """The indefinite matrix, and a factor of the nearest correlation matrix."""
    a = _pairwise()
    return torch.from_numpy(a), torch.from_numpy(_factor(_alternating(a)))


@problem(
    Elliptope(),
    title="Nearest correlation matrix, 13 × 13",
    optimum="alternating projections in NumPy",
    reference="nearest-correlation",
)
def nearest_correlation(generator: torch.Generator) -> Instance:
    r"""Minimize `||y y' - a||^2 / 4` over factors `y` with unit rows.

    `a` holds the correlations of the 13 features of scikit-learn's wines. Seven in ten of the
    entries are missing, and each correlation comes from the pairs that exist. So `a` is symmetric
    with a unit diagonal, and not positive semidefinite. The set of correlation matrices is convex,
    so the nearest one is unique; Higham's alternating projections find it. The number of columns of
    the factor is its rank.

    Source: Higham, Computing the nearest correlation matrix: a problem from finance, IMA J. Numer.
    Anal. 22, 2002, algorithm 3.3.

    Example:
        >>> bool(torch.linalg.eigvalsh(nearest_correlation.probe.data[0]).min() < -0.3)
        True
    """
    a, solution = _data()
    initial = Elliptope().random(*solution.shape, generator=generator, dtype=torch.float64)
    return Instance(
        data=(a,),
        loss=_loss,
        initial=initial,
        exact=float(_loss(solution, a)),
        solution=solution,
    )
