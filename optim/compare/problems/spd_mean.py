"""Frechet mean of covariance descriptors of the ten digit classes, affine-invariant metric."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import AffineInvariant, SymmetricPositiveDefinite, maps
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets

__all__ = ["spd_mean"]

FEATURES = 12
FLOOR = 0.02


def _descriptors() -> np.ndarray:
    """One covariance for each class, of the pixels in the 12 leading components of all digits.

    The components are scaled to unit average variance, and 0.02 I is added. Shape (10, 12, 12).
    """
    digits = datasets.digits()
    values, vectors = np.linalg.eigh(np.cov(digits.data.T, bias=True))
    features = digits.data @ vectors[:, -FEATURES:] / np.sqrt(values[-FEATURES:].mean())
    classes = [features[digits.target == k] for k in range(10)]
    return np.stack([np.cov(rows.T, bias=True) for rows in classes]) + FLOOR * np.eye(FEATURES)


def _spectral(a: np.ndarray, f: np.ufunc) -> np.ndarray:
    values, vectors = np.linalg.eigh(a)
    return (vectors * f(values)[..., None, :]) @ vectors.swapaxes(-1, -2)


def _fixed_point(covariances: np.ndarray, sweeps: int = 100) -> np.ndarray:
    """The mean by `x <- x^(1/2) exp(mean log(x^(-1/2) C x^(-1/2))) x^(1/2)`, in float64.

    At the mean the logarithms sum to zero (Moakher 2005, eq. 3.9); they do so here to 1e-15.
    """
    x = covariances.mean(0)
    for _ in range(sweeps):
        root = _spectral(x, np.sqrt)
        inverse = np.linalg.inv(root)
        logs = _spectral(inverse @ covariances @ inverse, np.log)
        x = root @ _spectral(logs.mean(0), np.exp) @ root
        x = (x + x.T) / 2
    return x


def _loss(x: Tensor, covariances: Tensor) -> Tensor:
    # dist(x, C)^2 = ||log(L^-1 C L^-T)||^2 with x = L L'. There is no host synchronisation, and
    # outside the cone the result is a NaN. If x is one of the covariances, all eigenvalues are
    # equal, and the derivatives of spd_log are finite there too.
    chol, info = torch.linalg.cholesky_ex(x)
    half = torch.linalg.solve_triangular(chol, covariances, upper=False)
    whitened = torch.linalg.solve_triangular(chol, half.mT, upper=False)
    logs = maps.spd_log((whitened + whitened.mT) / 2)
    squares = logs.square().sum((-1, -2)).mean() / 2
    return torch.where(info == 0, squares, torch.nan)


@cache
def _data() -> tuple[Tensor, Tensor]:
    """The covariances and their mean."""
    covariances = _descriptors()
    return torch.from_numpy(covariances), torch.from_numpy(_fixed_point(covariances))


@problem(
    SymmetricPositiveDefinite(metric=AffineInvariant()),
    title="Fréchet mean of ten covariances, SPD(12)",
    optimum="fixed-point iteration in NumPy",
    reference="spd-mean",
)
def spd_mean(generator: torch.Generator) -> Instance:
    r"""Minimize half the mean squared affine-invariant distance to ten covariance matrices.

    `f(x) = 1/20 sum_k dist(x, C_k)^2` is geodesically convex with curvature at least 1 (Moakher
    2005), so the optimum is unique. It is found by the fixed-point iteration of its first-order
    condition in NumPy, which shares no code with the library. The initial point is one of the ten.

    Source: M. Moakher, A differential geometric approach to the geometric mean of symmetric
    positive-definite matrices, SIAM J. Matrix Anal. Appl. 26, 2005.

    Example:
        >>> spd_mean.probe.data[0].shape
        torch.Size([10, 12, 12])
    """
    data, mean = _data()
    return Instance(
        data=(data,),
        loss=_loss,
        initial=data[torch.randint(len(data), (), generator=generator)],
        exact=float(_loss(mean, data)),
        solution=mean,
    )
