"""Sparse principal components of the wines, with a smooth penalty."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import Stiefel
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets

__all__ = ["sparse_pca"]

COMPONENTS = 3
PENALTY = 0.3
WIDTH = 0.1


def _cost(x: np.ndarray, correlation: np.ndarray) -> float:
    sizes = np.sqrt(x**2 + WIDTH**2) - WIDTH
    return float(PENALTY * sizes.sum() - (x * (correlation @ x)).sum() / 2)


def _majorized(x: np.ndarray, correlation: np.ndarray, sweeps: int) -> np.ndarray:
    """Minimize the linear bound of the cost at `x` repeatedly, by a polar decomposition.

    Minus the variance is concave, and so is the penalty minus `PENALTY x^2 / (2 WIDTH)`, whose sum
    is constant on Stiefel. So the cost lies below its linear bound and falls in every sweep.
    """
    for _ in range(sweeps):
        slope = PENALTY * (x / np.sqrt(x**2 + WIDTH**2) - x / WIDTH) - correlation @ x
        u, _, vh = np.linalg.svd(-slope, full_matrices=False)
        before, x = x, u @ vh
        if np.abs(x - before).max() < 1e-16:
            break
    return x


@cache
def _data() -> tuple[Tensor, Tensor]:
    """Correlations of the features, and the best of ten limits."""
    correlation = np.corrcoef(datasets.wine().data.T)
    rng = np.random.default_rng(0)
    firsts = [np.linalg.qr(rng.standard_normal((13, COMPONENTS)))[0] for _ in range(10)]
    ends = [_majorized(x, correlation, sweeps=200) for x in firsts]
    best = min(ends, key=lambda x: _cost(x, correlation))
    solution = _majorized(best, correlation, sweeps=20000)
    return torch.from_numpy(correlation), torch.from_numpy(solution)


def _loss(x: Tensor, correlation: Tensor) -> Tensor:
    sizes = (x.square() + WIDTH**2).sqrt() - WIDTH
    return PENALTY * sizes.sum() - (x * (correlation @ x)).sum() / 2


@problem(
    Stiefel(),
    title="Sparse principal components of the wines, St(13, 3)",
    optimum="majorization in NumPy, the best of ten limits",
    reference="sparse-pca",
)
def sparse_pca(generator: torch.Generator) -> Instance:
    r"""Minimize `-tr(x'cx) / 2 + 0.3 sum_ij h(x_ij)` over the orthonormal `x` of shape (13, 3).

    `c` holds the correlations of the 13 features of scikit-learn's wines, and `h(t) = (t^2 +
    0.01)^(1/2) - 0.1` is a smooth absolute value, so the cost depends on the basis and not only on
    its span. The problem is not convex: the optimum is the best limit of a majorization from
    ten random points, all of which end with the same cost.

    Source: Journee, Nesterov, Richtarik & Sepulchre, Generalized power method for sparse principal
    component analysis, J. Mach. Learn. Res. 11, 2010.

    Example:
        >>> sparse_pca.probe.solution.shape
        torch.Size([13, 3])
    """
    correlation, solution = _data()
    initial = Stiefel().random(*solution.shape, generator=generator, dtype=torch.float64)
    return Instance(
        data=(correlation,),
        loss=_loss,
        initial=initial,
        exact=float(_loss(solution, correlation)),
        solution=solution,
    )
