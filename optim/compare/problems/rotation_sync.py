"""Synchronisation: rotations from noisy measurements of their ratios."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import SpecialOrthogonal
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems.rotations import aligned

__all__ = ["rotation_sync"]

DENSITY = 0.3
NOISE = 0.2


def _loss(x: Tensor, tails: Tensor, heads: Tensor, ratios: Tensor) -> Tensor:
    return (x[tails] - ratios @ x[heads]).square().sum() / (2 * len(ratios))


def _cost(n: int, tails: np.ndarray, heads: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """The matrix of the loss as a quadratic form: the connection Laplacian, `(3 n, 3 n)`."""
    blocks = np.zeros((n, 3, n, 3))
    for i, j, ratio in zip(tails, heads, ratios, strict=True):
        blocks[i, :, i] += np.eye(3)
        blocks[j, :, j] += np.eye(3)
        blocks[i, :, j] -= ratio
        blocks[j, :, i] -= ratio.T
    return blocks.reshape(3 * n, 3 * n) / (2 * len(tails))


@cache
def _data(n: int) -> tuple[Tensor, ...]:
    """Both ends of each edge, the measured ratios, and the solution."""
    rng = np.random.default_rng(0)
    truth = SpecialOrthogonal().project(torch.from_numpy(rng.standard_normal((n, 3, 3)))).numpy()
    tails, heads = np.triu_indices(n, 1)
    # A cycle through all, so that the graph is connected, and some of the other edges.
    kept = (heads - tails == 1) | (heads - tails == n - 1) | (rng.random(len(tails)) < DENSITY)
    tails, heads = tails[kept], heads[kept]
    ratios = truth[tails] @ truth[heads].swapaxes(1, 2)
    noisy = torch.from_numpy(ratios + NOISE * rng.standard_normal(ratios.shape))
    ratios = SpecialOrthogonal().project(noisy).numpy()
    solution = aligned(_cost(n, tails, heads, ratios), 3)
    return tuple(map(torch.from_numpy, (tails, heads, ratios, solution)))


@problem(
    SpecialOrthogonal(),
    title="Rotation synchronisation, SO(3)",
    optimum="power iteration in NumPy, proved by its dual certificate",
    reference="rotation-sync",
)
def rotation_sync(generator: torch.Generator, n: int = 25) -> Instance:
    r"""Minimize `1/(2 m) sum_ij ||x_i - r_ij x_j||^2` over the rotations `x` of shape (n, 3, 3).

    `r_ij` are measured ratios `x_i x_j'` with noise, on the m edges of a random graph. A common
    factor on the right of all rotations changes nothing. Power iteration from the spectral
    relaxation finds the minimum. It is global, because the slack of its Lagrange dual is positive
    semidefinite. The initial rotations are random.

    Source: Boumal, Singer, Absil & Blondel, Cramer-Rao bounds for synchronization of rotations,
    Inf. Inference 3, 2014; Rosen, Carlone, Bandeira & Leonard, SE-Sync, Int. J. Robot. Res. 38,
    2019, for the certificate.

    Args:
        generator: the generator of the initial rotations.
        n: the number of rotations.

    Example:
        >>> rotation_sync.probe.initial.shape
        torch.Size([25, 3, 3])
    """
    *data, solution = _data(n)
    return Instance(
        data=tuple(data),
        loss=_loss,
        initial=SpecialOrthogonal().random(n, 3, 3, generator=generator, dtype=torch.float64),
        exact=float(_loss(solution, *data)),
        solution=solution,
    )
