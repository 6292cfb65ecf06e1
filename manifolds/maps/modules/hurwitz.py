"""Stable (Hurwitz) matrices, as a module."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    eye_like,
    in_working_precision,
    single,
    skew,
    stable_lyapunov,
)
from torchmanifold.manifolds.maps.modules.domain import largest, require_square, slack
from torchmanifold.manifolds.maps.modules.sets import SetMap, stable
from torchmanifold.manifolds.maps.spectral import spd_exp, spd_log

__all__ = ["Hurwitz"]


class Hurwitz(SetMap):
    """Stable matrices: every eigenvalue has real part below `-margin`.

    `A - margin I` with `A = (skew(z) - I) P` and `P = exp(sym(z))`: n^2 numbers for the n^2
    dimensions, one to one and onto. `A` is stable, because `x'Px` falls along `dx/dt = A x`. For
    the inverse, `A X + X A' = -2 I` has one solution, which is positive definite, and `P = X^-1`,
    `skew(z) = skew(A X)`.

    Args:
        margin: bound on the rate of decay, at least 0.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Hurwitz
        >>> Hurwitz()(torch.zeros(1, 1))
        tensor([[-1.]])

    Source: Gillis and Sharma, On computing the distance to stability for matrices using linear
    dissipative Hamiltonian systems, Automatica 85 (2017).
    """

    batched = True

    def __init__(self, margin: float = 0.0) -> None:
        super().__init__()
        if not margin >= 0:
            raise ValueError(f"Hurwitz: margin must be at least 0, got {margin}")
        self.margin = margin

    @property
    def config(self) -> tuple[float]:
        """The settings; maps with equal settings can be evaluated together."""
        return (self.margin,)

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`(skew(z) - I) exp(sym(z)) - margin I`."""
        eye = eye_like(z)
        return (skew(z) - eye) @ spd_exp(z) - self.margin * eye

    def project(self, z: Tensor) -> Tensor:
        """`z`, or `z - t I` such that it is stable by a hundredth of its norm."""
        return stable(z, self.margin)

    def right_inverse(self, a: Tensor) -> Tensor:
        """Solves a Lyapunov equation; raises ValueError if `a` is not stable."""
        require_square(a, "Hurwitz")
        if a.is_meta or a.numel() == 0:
            return a
        shifted = a.detach().to(torch.promote_types(a.dtype, torch.float64))
        shifted = shifted + self.margin * eye_like(shifted)
        right = float(torch.linalg.eigvals(shifted).real.amax())
        if not right < 0:
            raise ValueError(
                f"Hurwitz.right_inverse: an eigenvalue has real part {right - self.margin:.7g}, "
                f"which is not below {0.0 - self.margin}; take torchmanifold.maps.Hurwitz("
                f"{self.margin}).project(a)"
            )
        x = stable_lyapunov(shifted, 2 * eye_like(shifted))
        z = (skew(shifted @ x) - spd_log(x)).to(a.dtype)
        off = largest(single(self(z)) - single(a)) / largest(a)
        if not off <= max(slack(a), torch.finfo(a.dtype).eps ** 0.5):
            raise ValueError(
                f"Hurwitz.right_inverse: the matrix is so near to unstable ones that in {a.dtype} "
                f"the map returns it with a relative error of {off:.2g}; subtract a multiple of "
                "the identity, or take float64"
            )
        return z
