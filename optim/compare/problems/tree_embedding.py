"""A binary tree in the hyperbolic plane, with the least stress."""

from __future__ import annotations

from functools import cache

import networkx
import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import Lorentz
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem

__all__ = ["tree_embedding"]

HEIGHT = 3
NOISE = 0.1


def _layout(tree: networkx.Graph) -> np.ndarray:
    """The root in the middle, children around it on circles, without crossings: `(n, 2)`."""
    depths = networkx.single_source_shortest_path_length(tree, 0)
    places = np.zeros((len(tree), 2))
    for node, depth in depths.items():
        first = 2**depth - 1  # the first node of this depth; nodes are numbered from the root
        angle = 2 * np.pi * (node - first + 0.5) / 2**depth
        places[node] = np.sinh(depth) * np.array([np.cos(angle), np.sin(angle)])
    return places


def _least_stress(places: np.ndarray, distances: np.ndarray, sweeps: int = 1000) -> np.ndarray:
    """Gauss-Newton steps of the last two coordinates `s`; the first is `(1 + |s|^2)^(1/2)`."""
    i, j = np.triu_indices(len(places), 1)
    rows = np.arange(len(i))
    for _ in range(sweeps):
        first = np.sqrt(1 + np.square(places).sum(1))
        cosh = first[i] * first[j] - (places[i] * places[j]).sum(1)
        sinh = np.sqrt(cosh**2 - 1)[:, None]
        jacobian = np.zeros((len(i), *places.shape))
        jacobian[rows, i] = ((first[j] / first[i])[:, None] * places[i] - places[j]) / sinh
        jacobian[rows, j] = ((first[i] / first[j])[:, None] * places[j] - places[i]) / sinh
        error = np.arccosh(cosh) - distances[i, j]
        # The shortest step, because isometries of the plane leave three directions undetermined.
        step = np.linalg.lstsq(jacobian.reshape(len(i), -1), -error, rcond=1e-9)[0]
        places = places + step.reshape(places.shape)
        if np.abs(step).max() < 1e-14:
            break
    return places


def _lifted(places: np.ndarray) -> Tensor:
    return torch.from_numpy(np.c_[np.sqrt(1 + np.square(places).sum(1)), places])


def _loss(x: Tensor, distances: Tensor) -> Tensor:
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    return (Lorentz().dist(x[i], x[j]) - distances[i, j]).square().mean()


@cache
def _data() -> tuple[Tensor, Tensor, Tensor]:
    """Distances in the tree, a layout, and the points of least stress."""
    tree = networkx.balanced_tree(2, HEIGHT)
    distances = np.asarray(networkx.floyd_warshall_numpy(tree, nodelist=range(len(tree))))
    layout = _layout(tree)
    best = _least_stress(layout, distances)
    return torch.from_numpy(distances), _lifted(layout), _lifted(best)


@problem(
    Lorentz(),
    title="A binary tree in the hyperbolic plane, 15 points",
    optimum="the Gauss-Newton method in NumPy",
    reference="tree-embedding",
)
def tree_embedding(generator: torch.Generator) -> Instance:
    r"""Minimize the mean of `(dist(x_i, x_j) - d_ij)^2` over 15 points of the hyperbolic plane.

    `d_ij` counts the edges between two nodes of the balanced binary tree of height 3. The plane is
    the hyperboloid in R^3. The problem is not convex: all methods begin near a layout of the tree
    without crossings, with seeded noise, and so does the computation of the optimum.

    Source: Sala, De Sa, Gu & Re, Representation tradeoffs for hyperbolic embeddings, ICML 2018;
    Nickel & Kiela, Learning continuous hierarchies in the Lorentz model, ICML 2018.

    Example:
        >>> tree_embedding.probe.initial.shape
        torch.Size([15, 3])
    """
    distances, layout, best = _data()
    noise = torch.randn(layout.shape, generator=generator, dtype=torch.float64)
    initial = Lorentz().exp(layout, Lorentz().tangent(layout, NOISE * noise))
    return Instance(
        data=(distances,),
        loss=_loss,
        initial=initial,
        exact=float(_loss(best, distances)),
        solution=best,
    )
