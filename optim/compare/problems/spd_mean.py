"""Frechet mean of covariance descriptors of the ten digit classes, affine-invariant metric."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from torchmanifold.manifolds import AffineInvariant, SymmetricPositiveDefinite
from torchmanifold.optim.compare.problems.problem import Problem

__all__ = ["spd_mean"]

FEATURES = 12
FLOOR = 0.02


def _descriptors() -> np.ndarray:
    """One covariance a class, of the pixels in the 12 leading components of all digits.

    The components are scaled to unit average variance, and 0.02 I is added. Shape (10, 12, 12).
    """
    digits = load_digits()
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
    # dist(x, C)^2 = sum log^2 of the eigenvalues of L^-1 C L^-T with x = L L'. No host
    # synchronisation; outside the cone the result is a NaN.
    chol, info = torch.linalg.cholesky_ex(x)
    half = torch.linalg.solve_triangular(chol, covariances, upper=False)
    whitened = torch.linalg.solve_triangular(chol, half.mT, upper=False)
    values = torch.linalg.eigvalsh((whitened + whitened.mT) / 2)
    squares = values.log().square().sum(-1).mean() / 2
    return torch.where(info == 0, squares, torch.nan)


def spd_mean() -> Problem:
    r"""Minimize half the mean squared affine-invariant distance to ten covariance matrices.

    `f(x) = 1/20 sum_k dist(x, C_k)^2` is geodesically convex with curvature at least 1 (Moakher
    2005), so the optimum is unique. It is found by the fixed-point iteration of its first-order
    condition in NumPy, which shares no code with the library. Every run starts at one of the ten.

    Source: M. Moakher, A differential geometric approach to the geometric mean of symmetric
    positive-definite matrices, SIAM J. Matrix Anal. Appl. 26, 2005.

    Example:
        >>> spd_mean().data[0].shape
        torch.Size([10, 12, 12])
    """
    covariances = _descriptors()

    def start(generator: torch.Generator) -> Tensor:
        return data[torch.randint(len(data), (), generator=generator)]

    mean = torch.from_numpy(_fixed_point(covariances))
    data = torch.from_numpy(covariances)
    return Problem(
        name="spd-mean",
        title="Fréchet mean of ten covariances, SPD(12)",
        manifold=SymmetricPositiveDefinite(metric=AffineInvariant()),
        data=(data,),
        loss=_loss,
        start=start,
        exact=float(_loss(mean, data)),
        optimum="fixed-point iteration in NumPy",
        solution=mean,
    )
