"""A frame at a point: coordinates of tangent vectors in which the metric is the dot product.

Solvers represent tangent vectors by such coordinates `c`, with `u = B c` and `B B* = g^-1`. Inner
products are dot products, the gradient is `B* egrad`, and the Hessian is `B* H B`. The vector
transport keeps the coordinates from one point to the next, without their part that has no tangent
vector there (parallelization: Huang, Absil & Gallivan 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from torchmanifold.manifolds import Manifold

__all__ = ["Frame", "frame"]


class Frame(Protocol):
    """Coordinates at one point, in tensors of its shape."""

    def gradient(self, egrad: Tensor) -> Tensor:
        """`B* egrad`."""

    def up(self, c: Tensor) -> Tensor:
        """`B c`, a tangent vector, for any tensor `c`."""

    def down(self, u: Tensor) -> Tensor:
        """The coordinates of a tangent vector."""

    def step(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """The part of `c` that has a tangent vector, and that vector `B c`."""

    def hessian(self, egrad: Tensor, ehess: Tensor, u: Tensor) -> Tensor:
        """Coordinates of the Riemannian Hessian along the tangent vector `u`."""


@dataclass(frozen=True)
class _Embedded:
    """On a submanifold with the Frobenius inner product a tangent vector is its coordinates."""

    M: Manifold
    x: Tensor

    def gradient(self, egrad: Tensor) -> Tensor:
        return self.M.tangent(self.x, egrad)

    def up(self, c: Tensor) -> Tensor:
        return self.M.tangent(self.x, c)

    def down(self, u: Tensor) -> Tensor:
        return u

    def step(self, c: Tensor) -> tuple[Tensor, Tensor]:
        u = self.M.tangent(self.x, c)
        return u, u

    def hessian(self, egrad: Tensor, ehess: Tensor, u: Tensor) -> Tensor:
        return self.M.hessian(self.x, egrad, ehess, u)


@dataclass(frozen=True)
class _General:
    """A frame from the manifold's `coordinates` and their inverse."""

    M: Manifold
    x: Tensor

    def gradient(self, egrad: Tensor) -> Tensor:
        return self.M.inverse_coordinates(self.x, self.M.gradient(self.x, egrad))

    def up(self, c: Tensor) -> Tensor:
        return self.M.coordinates(self.x, c)

    def down(self, u: Tensor) -> Tensor:
        return self.M.inverse_coordinates(self.x, u)

    def step(self, c: Tensor) -> tuple[Tensor, Tensor]:
        u = self.M.coordinates(self.x, c)
        return self.M.inverse_coordinates(self.x, u), u

    def hessian(self, egrad: Tensor, ehess: Tensor, u: Tensor) -> Tensor:
        return self.M.inverse_coordinates(self.x, self.M.hessian(self.x, egrad, ehess, u))


def frame(M: Manifold, x: Tensor) -> Frame:
    """The frame of the manifold at `x`."""
    return _Embedded(M, x) if M.metric_rule.embedded else _General(M, x)
