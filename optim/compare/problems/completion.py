"""Low-rank completion of a photograph from some of its pixels."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import FixedRank
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets

__all__ = ["completion"]

RANK = 6
DENSITY = 0.6
NOISE = 0.05


def _photo() -> np.ndarray:
    """The photograph china.jpg of scikit-learn: grey, cropped, averaged to 64 x 96, in [0, 1]."""
    rgb = datasets.photograph()[43:427, 32:608] / 255
    grey = rgb @ np.array([0.299, 0.587, 0.114])
    return grey.reshape(64, 6, 96, 6).mean((1, 3))


def _alternating_least_squares(photo: np.ndarray, mask: np.ndarray, sweeps: int) -> np.ndarray:
    """Fit `left right'` to the known pixels, one factor at a time, in float64."""
    u, s, vh = np.linalg.svd(photo * mask / DENSITY, full_matrices=False)
    left, right = u[:, :RANK] * s[:RANK], vh[:RANK].T
    for _ in range(sweeps):
        # An orthonormal factor keeps the normal equations of the other well conditioned.
        right, _ = np.linalg.qr(right)
        left = _rows(photo, mask, right)
        left, _ = np.linalg.qr(left)
        right = _rows(photo.T, mask.T, left)
    return left @ right.T


def _rows(photo: np.ndarray, mask: np.ndarray, factor: np.ndarray) -> np.ndarray:
    gram = np.einsum("ij,jk,jl->ikl", mask, factor, factor, optimize=True)
    return np.linalg.solve(gram, ((mask * photo) @ factor)[..., None])[..., 0]


def _loss(x: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    return (mask * (x - photo)).square().sum() / (2 * DENSITY)


def _heldout_rmse(x: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    hidden = 1 - mask
    return ((hidden * (x - photo)).square().sum() / hidden.sum()).sqrt()


@cache
def _data() -> tuple[Tensor, Tensor, Tensor]:
    """The photograph, the mask of known pixels, and the solution."""
    photo = _photo()
    mask = (np.random.default_rng(0).random(photo.shape) < DENSITY).astype(np.float64)
    solution = _alternating_least_squares(photo, mask, sweeps=400)
    return torch.from_numpy(photo), torch.from_numpy(mask), torch.from_numpy(solution)


@problem(
    FixedRank(RANK),
    title="Completion of a photograph, rank 6, 64 × 96",
    optimum="alternating least squares in NumPy",
    reference="completion",
)
def completion(generator: torch.Generator) -> Instance:
    r"""Minimize `||mask * (x - photo)||^2 / 1.2` over the 64 x 96 matrices of rank 6.

    Six pixels in ten are known; the error on the others is recorded as `heldout_rmse`. The
    problem is not convex: the optimum is the limit of alternating least squares in float64 from
    the truncated SVD of the known pixels, and this limit is checked to be stationary. The initial
    point of all methods is near the same truncated SVD, with seeded noise of 5 % of its norm.

    Example:
        >>> int(completion.probe.data[1].sum())  # known pixels of 6144
        3709
    """
    photo, mask, solution = _data()
    filled = photo * mask / DENSITY
    noise = torch.randn(filled.shape, generator=generator, dtype=torch.float64)
    return Instance(
        data=(photo, mask),
        loss=_loss,
        initial=FixedRank(RANK).project(filled + NOISE * filled.norm() * noise / noise.norm()),
        exact=float(_loss(solution, photo, mask)),
        solution=solution,
        scores={"heldout_rmse": _heldout_rmse},
    )
