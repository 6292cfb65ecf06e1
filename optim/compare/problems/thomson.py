"""Thomson's problem: equal charges on the sphere."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds import Oblique
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem

__all__ = ["thomson"]


def _loss(x: Tensor) -> Tensor:
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    pairs = (x[i] - x[j]).square().sum(-1).rsqrt()
    return pairs.mean()


def _icosahedron() -> Tensor:
    """Its twelve vertices: `(0, 1, g)` with all signs, in cyclic order; g is the golden ratio."""
    golden = (1 + 5**0.5) / 2
    corners = [(0.0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    turned = [(x[i:] + x[:i]) for x in corners for i in range(3)]
    return torch.tensor(turned, dtype=torch.float64) / (1 + golden**2) ** 0.5


@problem(
    Oblique(rows=True),
    title="Thomson's problem, 12 charges",
    optimum="the regular icosahedron",
    reference="thomson",
)
def thomson(generator: torch.Generator) -> Instance:
    r"""Minimize the mean of `1 / ||x_i - x_j||` over all pairs of 12 points of the sphere.

    The vertices of the icosahedron have the least energy, 49.165253 in all, which is proved to be
    the global minimum. The initial points are random.

    Source: Thomson, Philosophical Magazine 7, 1904; Andreev, An extremal property of the
    icosahedron, East J. Approx. 2, 1996.

    Example:
        >>> round(66 * thomson.probe.exact, 6)
        49.165253
    """
    solution = _icosahedron()
    initial = Oblique(rows=True).random(*solution.shape, generator=generator, dtype=torch.float64)
    return Instance(loss=_loss, initial=initial, exact=float(_loss(solution)), solution=solution)
