"""The rows that manifolds of orthonormal columns share."""

from __future__ import annotations

from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.retractions import NewtonSchulz
from torchmanifold.manifolds.linalg import in_working_precision, sym
from torchmanifold.manifolds.maps.steps import shortened

__all__ = [
    "nearest_orthonormal",
    "newton_schulz",
    "newton_schulz_residual",
    "polar",
    "qr",
    "weingarten",
]


def weingarten(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """`-P(v sym(x'w))`, the Weingarten map of the Euclidean metric.

    Source: Absil, Mahony & Trumpf 2013, section 5.
    """
    return M.tangent(x, -v @ sym(x.mH @ w))


@in_working_precision
def nearest_orthonormal(z: Tensor) -> Tensor:
    """The polar factor of `z`: the nearest point, or one of several if `z` is rank deficient."""
    return maps.polar(z)


def polar(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The row of `Polar`."""
    return maps.polar_step(x, v)


def qr(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The row of `QR`."""
    return maps.qr_step(x, v)


def newton_schulz_residual(M: Manifold, shape: tuple[int, ...]) -> float:
    """The residual that the row of `NewtonSchulz` states, after any number of steps."""
    assert isinstance(M.retraction, NewtonSchulz)
    return (0.065, 0.0017, 2e-6)[min(M.retraction.steps, 3) - 1] * shape[-1] ** 0.5


def newton_schulz(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The row of `NewtonSchulz`."""
    assert isinstance(M.retraction, NewtonSchulz)
    return maps.newton_schulz(x + shortened(v, M.retraction.longest), M.retraction.steps)
