"""The rows that manifolds of orthonormal columns share."""

from __future__ import annotations

from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.retractions import NewtonSchulz
from torchmanifold.manifolds.linalg import in_working_precision, newton_schulz_step, svd, sym
from torchmanifold.manifolds.maps.steps import shortened

__all__ = ["embedded_hessian", "nearest_orthonormal", "newton_schulz", "polar", "qr"]


def embedded_hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    """The Hessian of the Euclidean metric."""
    # Absil, Mahony & Trumpf 2013: the Weingarten map of Stiefel is -v sym(x' egrad).
    return M.tangent(x, ehess - v @ sym(x.mH @ egrad))


@in_working_precision
def nearest_orthonormal(z: Tensor) -> Tensor:
    """The polar factor of `z`: the nearest point (a nearest one if `z` is rank deficient)."""
    u, _, vh = svd(z)
    return newton_schulz_step(u @ vh)


def polar(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The row of `Polar`."""
    return maps.polar_step(x, v)


def qr(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The row of `QR`."""
    return maps.qr_step(x, v)


def newton_schulz(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The row of `NewtonSchulz`."""
    assert isinstance(M.retraction, NewtonSchulz)
    return maps.newton_schulz(x + shortened(v, M.retraction.longest), M.retraction.steps)
