"""Joint diagonalisation of noisy matrices by one rotation, as in independent components."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import SpecialOrthogonal
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem

__all__ = ["joint_diagonal"]

SIDE, MATRICES = 8, 12
NOISE = 0.05


def _jacobi(matrices: np.ndarray, sweeps: int = 100) -> np.ndarray:
    """The rotation of Cardoso and Souloumiac: the best angle in one plane at a time.

    Source: Cardoso & Souloumiac, Jacobi angles for simultaneous diagonalization, SIAM J. Matrix
    Anal. Appl. 17, 1996, section 2 for real matrices.
    """
    a, x = matrices.copy(), np.eye(matrices.shape[-1])
    for _ in range(sweeps):
        largest = 0.0
        for i, j in zip(*np.triu_indices(len(x), 1), strict=True):
            h = np.stack([a[:, i, i] - a[:, j, j], 2 * a[:, i, j]])
            g = h @ h.T
            angle = np.arctan2(2 * g[0, 1], g[0, 0] - g[1, 1]) / 4
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            x[:, [i, j]] = x[:, [i, j]] @ turn
            a[:, :, [i, j]] = a[:, :, [i, j]] @ turn
            a[:, [i, j]] = turn.T @ a[:, [i, j]]
            largest = max(largest, abs(angle))
        if largest < 1e-16:
            break
    return x


def _loss(x: Tensor, matrices: Tensor) -> Tensor:
    turned = x.mT @ matrices @ x
    off = turned - torch.diag_embed(turned.diagonal(dim1=-2, dim2=-1))
    return off.square().sum() / len(matrices)


@cache
def _data() -> tuple[Tensor, Tensor]:
    """The matrices, and the rotation that diagonalizes them best."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((SIDE, SIDE)))
    exact = (basis * rng.standard_normal((MATRICES, 1, SIDE))) @ basis.T
    noise = NOISE * rng.standard_normal(exact.shape)
    matrices = exact + (noise + noise.swapaxes(1, 2)) / 2
    return torch.from_numpy(matrices), torch.from_numpy(_jacobi(matrices))


@problem(
    SpecialOrthogonal(),
    title="Joint diagonalisation of twelve matrices, SO(8)",
    optimum="Jacobi angles in NumPy",
    reference="joint-diagonal",
)
def joint_diagonal(generator: torch.Generator) -> Instance:
    r"""Minimize `1/12 sum_k ||off(x' a_k x)||^2` over the rotations `x` of shape (8, 8).

    `a_k = q diag(d_k) q'` plus symmetric noise. Cumulants and covariances of mixed signals have
    this form, and `x` is then the mixing of their independent components. Because of the noise no
    rotation makes all matrices diagonal. The optimum is the limit of Jacobi's sweeps in NumPy,
    which converge quadratically. The order of the columns and their signs are free.

    Source: Cardoso & Souloumiac, Blind beamforming for non-Gaussian signals, IEE Proc. F 140, 1993.

    Example:
        >>> joint_diagonal.probe.data[0].shape
        torch.Size([12, 8, 8])
    """
    matrices, solution = _data()
    return Instance(
        data=(matrices,),
        loss=_loss,
        initial=SpecialOrthogonal().random(SIDE, SIDE, generator=generator, dtype=torch.float64),
        exact=float(_loss(solution, matrices)),
        solution=solution,
    )
