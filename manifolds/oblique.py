"""Matrices with unit columns, or unit rows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from torchmanifold.manifolds.geometry import Manifold, View
from torchmanifold.manifolds.sphere import Sphere

__all__ = ["Oblique"]


@dataclass(frozen=True)
class Oblique(View):
    """Matrices `(*batch, n, p)` whose columns are unit vectors, or whose rows are.

    It is a product of spheres: every method is that of the sphere, column by column.

    Args:
        manifold: the sphere of each column, with its retraction.
        rows: unit rows instead of unit columns.

    Source: Absil & Gallivan, Joint diagonalization on the oblique manifold for independent
    component analysis, ICASSP 2006.

    Example:
        >>> import torchmanifold as tm
        >>> x = tm.Oblique().random(4, 3)
        >>> bool((x.norm(dim=0) - 1).abs().max() < 1e-5)
        True
    """

    manifold: Manifold = Sphere()
    rows: bool = False

    @property
    def event_ndim(self) -> int:
        """2: a point is a matrix."""
        return 2

    def inward(self, x: Tensor) -> Tensor:
        """The unit vectors, as a batch."""
        return x if self.rows else x.mT

    def outward(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The matrix of these vectors."""
        return y if self.rows else y.mT

    def inner_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """`(*batch, p, n)`, or the same shape with `rows`."""
        if len(shape) < 2:
            raise ValueError(f"Oblique: a point is a matrix, got the shape {tuple(shape)}")
        return shape if self.rows else (*shape[:-2], shape[-1], shape[-2])
