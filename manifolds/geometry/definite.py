"""The parts that manifolds of positive definite matrices share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.linalg import (
    cholesky,
    eigh,
    everywhere,
    eye_like,
    reads_values,
    sym,
    trace,
)
from torchmanifold.manifolds.maps.scalar_functions import SpectralFunction, piecewise_linear
from torchmanifold.manifolds.maps.spectral import apply_spectral

__all__ = [
    "bures_exp",
    "kept_definite",
    "lifted",
    "longest_step",
    "quadratic",
    "short_exp",
    "within",
]


def quadratic(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The row of `Quadratic`."""
    # (x + (I + v x^-1) x (I + v x^-1)') / 2, which is positive definite for every v.
    half = torch.linalg.solve_triangular(cholesky(x), v, upper=False)
    return sym(x + v + half.mH @ half / 2)


def lifted(z: Tensor, eps: float) -> Tensor:
    """Symmetric part of `z` with its eigenvalues lifted to `10 n eps` of the largest.

    The floor is `eps` if no eigenvalue is positive. It is at least the square root of the least
    normal number, whose square can be inverted. The matrix is NaN if `z` has a NaN. The derivative
    is finite at equal eigenvalues too.
    """
    s = sym(torch.nan_to_num(z))
    tiny = torch.finfo(z.dtype).tiny ** 0.5 if eps else 0.0

    def floor(values: Tensor) -> Tensor:
        top = values[..., -1:]
        return torch.where(top > 0, 10 * z.shape[-1] * eps * top, eps).clamp_min(tiny)

    def fit(values: Tensor) -> SpectralFunction:
        least = floor(values)

        def lift(x: Tensor) -> Tensor:
            return torch.maximum(x, least.reshape(least.shape + (1,) * (x.ndim - least.ndim)))

        return piecewise_linear(lift, lambda x: (lift(x) == x).long())

    with torch.no_grad():
        values, vectors = torch.linalg.eigh(s)
        up = torch.maximum(values, floor(values))
        # A matrix that needs no lift stays exactly as it is.
        low = (up > values).any(-1)[..., None, None]
        exact = torch.where(low, sym((vectors * up[..., None, :]) @ vectors.mH), s)
        exact = torch.where(torch.isfinite(z).all(-1).all(-1)[..., None, None], exact, torch.nan)
    if not (torch.is_grad_enabled() and z.requires_grad):
        return exact
    smooth = apply_spectral(s, fit)
    return smooth + (exact - smooth).detach()


_INSIDE = -0.9


def longest_step(x: Tensor) -> float:
    """The norm of a step after which the dtype can still hold the condition of the matrix."""
    return -math.log(max(x.shape[-1], 1) * torch.finfo(x.dtype).eps) / 2


def kept_definite(y: Tensor) -> Tensor:
    """`y`, with `10 n eps tr(y)` added to its diagonal if rounding has made it indefinite."""
    lost = torch.linalg.cholesky_ex(y.detach()).info != 0
    if reads_values(y) and everywhere(~lost):
        return y
    shift = torch.where(lost, 10 * y.shape[-1] * torch.finfo(y.dtype).eps * trace(y).real, 0.0)
    return y + shift[..., None, None] * eye_like(y)


def short_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The exponential as a retraction, of a step of at most the length `longest_step`.

    A longer step is shortened to that length, on the device: the condition of its end would be
    larger than the dtype can hold.
    """
    return kept_definite(M.exp(x, within(M, x, v, longest_step(x))))


def within(M: Manifold, x: Tensor, v: Tensor, longest: float) -> Tensor:
    """`v`, shortened on the device to the norm `longest` in the metric if it is longer."""
    if reads_values(v) and everywhere(M.norm(x, v.detach()) <= longest):
        return v
    # Division by the largest entry keeps the square from overflowing.
    size = v.detach().abs().amax((-2, -1), keepdim=True).clamp_min(1)
    unit = v / size
    length = M.norm(x, unit)[..., None, None]
    far = ~(length <= longest / size)  # also steps that are not finite, which become NaN
    return torch.where(far, unit * (longest / torch.where(far, length, 1.0)), v)


def bures_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The Bures-Wasserstein exponential as a retraction, within its domain.

    `(I + S) x (I + S)` is a geodesic as long as `I + S` is positive definite. A longer step is
    shortened, on the device, so that the least eigenvalue of `S` is -0.9.
    """
    s = maps.solve_lyapunov(x, v)
    least = eigh(sym(s.detach()))[0][..., 0]
    if not (reads_values(v) and everywhere(least >= _INSIDE)):
        least = eigh(sym(s))[0][..., 0]
        v = v * torch.where(least < _INSIDE, _INSIDE / least, 1.0)[..., None, None]
    return kept_definite(M.exp(x, v))
