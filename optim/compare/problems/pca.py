"""Dominant subspace of the handwritten digits: principal component analysis on Stiefel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import Stiefel
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets

__all__ = ["pca"]

COMPONENTS = 10


def _loss(x: Tensor, covariance: Tensor) -> Tensor:
    return -(x * (covariance @ x)).sum() / 2


@problem(
    Stiefel(),
    title="Dominant subspace of the digits, St(64, 10)",
    optimum="eigh of the covariance",
    reference="pca",
)
def pca(generator: torch.Generator) -> Instance:
    r"""Minimize `-tr(x'Cx) / 2` over the orthonormal `x` of shape (64, 10).

    `C` is the covariance of the 1797 digits of scikit-learn, 8 x 8 pixels each, divided by its
    largest eigenvalue. The optimum, by `eigh`, is minus half the sum of its ten largest
    eigenvalues; the curvature there ranges from 0.047 to 1.

    Example:
        >>> pca.probe.data[0].shape
        torch.Size([64, 64])
    """
    pixels = datasets.digits().data
    covariance = np.cov(pixels.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    largest = values[-1]
    initial = Stiefel().random(64, COMPONENTS, generator=generator, dtype=torch.float64)
    return Instance(
        data=(torch.from_numpy(covariance / largest),),
        loss=_loss,
        initial=initial,
        exact=-float(values[-COMPONENTS:].sum() / largest) / 2,
        solution=torch.from_numpy(vectors[:, -COMPONENTS:].copy()),
    )
