"""Dominant subspace of the handwritten digits: principal component analysis on Stiefel."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from torchmanifold.manifolds import Stiefel
from torchmanifold.optim.compare.problems.problem import Problem

__all__ = ["pca"]

COMPONENTS = 10


def _loss(x: Tensor, covariance: Tensor) -> Tensor:
    return -(x * (covariance @ x)).sum() / 2


def pca() -> Problem:
    r"""Minimize `-tr(x'Cx) / 2` over the orthonormal `x` of shape (64, 10).

    `C` is the covariance of the 1797 digits of scikit-learn, 8 x 8 pixels each, divided by its
    largest eigenvalue. The optimum, by `eigh`, is minus half the sum of its ten largest
    eigenvalues; the curvature there ranges from 0.047 to 1.

    Example:
        >>> pca().data[0].shape
        torch.Size([64, 64])
    """
    pixels = load_digits().data
    covariance = np.cov(pixels.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    largest = values[-1]
    manifold = Stiefel()
    return Problem(
        name="pca",
        title="Dominant subspace of the digits, St(64, 10)",
        manifold=manifold,
        data=(torch.from_numpy(covariance / largest),),
        loss=_loss,
        start=lambda g: manifold.random(64, COMPONENTS, generator=g, dtype=torch.float64),
        exact=-float(values[-COMPONENTS:].sum() / largest) / 2,
        optimum="eigh of the covariance",
        solution=torch.from_numpy(vectors[:, -COMPONENTS:].copy()),
    )
