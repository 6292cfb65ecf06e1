"""Max-cut of Zachary's karate club: the semidefinite relaxation, by factors of low rank."""

from __future__ import annotations

from functools import cache

import networkx
import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import Oblique
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem

__all__ = ["max_cut"]


def _mixing(adjacency: np.ndarray, rank: int) -> np.ndarray:
    """Minimize over one row at a time, in closed form, until nothing moves.

    At the limit each row is minus the normalized sum of its neighbours.

    Source: Wang, Chang & Kolter, The mixing method: coordinate descent for low-rank semidefinite
    programming, arXiv:1706.00476, 2017.
    """
    rows = np.random.default_rng(0).standard_normal((len(adjacency), rank))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    neighbours = [np.flatnonzero(row) for row in adjacency]
    for _ in range(5000):
        before = rows.copy()
        for i, near in enumerate(neighbours):
            pull = rows[near].sum(0)
            rows[i] = -pull / np.linalg.norm(pull)
        if np.abs(rows - before).max() < 1e-15:
            break
    return rows


def _loss(x: Tensor, adjacency: Tensor) -> Tensor:
    # The divisor is twice the number of edges, so -1 would be a cut of all edges.
    return (x * (adjacency @ x)).sum() / adjacency.sum()


@cache
def _data(rank: int) -> tuple[Tensor, Tensor]:
    """The adjacency matrix and the solution."""
    adjacency = networkx.to_numpy_array(networkx.karate_club_graph(), weight=None)
    return torch.from_numpy(adjacency), torch.from_numpy(_mixing(adjacency, rank))


@problem(
    Oblique(rows=True),
    title="Max-cut relaxation of the karate club",
    optimum="the mixing method in NumPy, proved by its dual certificate",
    reference="max-cut",
)
def max_cut(generator: torch.Generator, rank: int = 8) -> Instance:
    r"""Minimize `<A, x x'> / (2 m)` over the matrices `x` of shape (34, rank) with unit rows.

    `A` is the adjacency matrix of the graph of Zachary's karate club, with m = 78 edges. The least
    cost `f` gives the upper bound `m (1 - f) / 2` of the number of edges in a cut. A point is
    optimal if its slack `A - diag(A x x')` is positive semidefinite. With rank (rank + 1) / 2 > 34
    local minima are global.

    Source: Burer & Monteiro, A nonlinear programming algorithm for solving semidefinite programs
    via low-rank factorization, Math. Program. 95, 2003; Boumal, Voroninski & Bandeira, The
    non-convex Burer-Monteiro approach works on smooth semidefinite programs, NIPS 2016.

    Example:
        >>> round(78 * (1 - max_cut.probe.exact) / 2, 2)  # at most so many edges of 78 are cut
        63.49
    """
    adjacency, solution = _data(rank)
    return Instance(
        data=(adjacency,),
        loss=_loss,
        initial=Oblique(rows=True).random(
            len(adjacency), rank, generator=generator, dtype=torch.float64
        ),
        exact=float(_loss(solution, adjacency)),
        solution=solution,
    )
