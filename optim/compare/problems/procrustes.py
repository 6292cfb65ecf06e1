"""Orthogonal Procrustes: the best rotation of one cloud of points to another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import SpecialOrthogonal
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem

__all__ = ["procrustes"]

POINTS, SIDE, NOISE = 128, 32, 0.1


def _loss(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (a @ x - b).square().sum() / 2


@problem(
    SpecialOrthogonal(),
    title="Orthogonal Procrustes, SO(32)",
    optimum="SVD, closed form",
    reference="procrustes",
)
def procrustes(generator: torch.Generator) -> Instance:
    r"""Minimize `||a x - b||^2 / 2` over the rotations `x` of 32-space.

    `a` is 128 x 32, standard normal, and `b = a r + noise` with a random rotation `r`; both are
    divided by the spectral norm of `a`. With the SVD `a'b = u s v'` the optimum is
    `u diag(1, ..., 1, det(u v')) v'`.

    Source: W. Kabsch, Acta Cryst. A 32, 1976; S. Umeyama, IEEE PAMI 13, 1991.

    Example:
        >>> procrustes.probe.solution.shape
        torch.Size([32, 32])
    """
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.standard_normal((SIDE, SIDE)))
    rotation[:, 0] *= np.sign(np.linalg.det(rotation))
    a = rng.standard_normal((POINTS, SIDE))
    b = a @ rotation + NOISE * rng.standard_normal((POINTS, SIDE))
    a, b = a / np.linalg.norm(a, 2), b / np.linalg.norm(a, 2)
    u, s, vh = np.linalg.svd(a.T @ b)
    turned = np.ones(SIDE)
    turned[-1] = np.sign(np.linalg.det(u @ vh))
    initial = SpecialOrthogonal().random(SIDE, SIDE, generator=generator, dtype=torch.float64)
    return Instance(
        data=(torch.from_numpy(a), torch.from_numpy(b)),
        loss=_loss,
        initial=initial,
        exact=float((a * a).sum() + (b * b).sum()) / 2 - float(s @ turned),
        solution=torch.from_numpy((u * turned) @ vh),
    )
