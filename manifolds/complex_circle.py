"""The complex circle: vectors of phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from torchmanifold.manifolds.geometry import Manifold, View
from torchmanifold.manifolds.sphere import Sphere

__all__ = ["ComplexCircle"]


@dataclass(frozen=True)
class ComplexCircle(View):
    """Complex vectors `(*batch, n)` with entries of modulus 1: a torus of phases.

    It is a product of circles, the unit spheres of one complex dimension.

    Args:
        manifold: the sphere of each entry, with its retraction.

    Source: Absil, Mahony & Sepulchre 2008, section 3.6, for the sphere; Boumal, Nonconvex phase
    synchronization, SIAM J. Optim. 26, 2016.

    Example:
        >>> import torchmanifold as tm
        >>> x = tm.ComplexCircle().random(4)
        >>> bool((x.abs() - 1).abs().max() < 1e-5)
        True
    """

    manifold: Manifold = Sphere()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "complex"

    @property
    def event_ndim(self) -> int:
        """1: a point is a vector."""
        return 1

    def inward(self, x: Tensor) -> Tensor:
        """Each entry as a vector of its own."""
        return x.unsqueeze(-1)

    def outward(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The entries side by side."""
        return y.squeeze(-1)

    def inner_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """`(*batch, n, 1)`."""
        if len(shape) < 1:
            raise ValueError("ComplexCircle: a point is a vector, got a number; use x.reshape(1)")
        return (*shape, 1)
