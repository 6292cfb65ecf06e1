"""Manifolds of another size: orthonormal columns of length c, spheres of radius c."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from torch import Tensor

from torchmanifold.manifolds.geometry.views import View, require_tensors

__all__ = ["Scaled"]


@dataclass(frozen=True)
class Scaled(View):
    """The points of `manifold` times `scale`: `Scaled(Sphere(), 3.0)` is the sphere of radius 3.

    Lengths are those of the embedding space, so distances are `scale` times those of the inner
    manifold, and the curvature is divided by `scale^2`. The residual is that of `x / scale`.

    The matrices of `Scaled(Stiefel(), (n / p) ** 0.5)` keep the root mean square of every input,
    whatever the width. `torch.nn.init.orthogonal_` with the gain `g` gives a point of
    `Scaled(Stiefel(), g)`.

    Args:
        manifold: the inner manifold, with points of size 1.
        scale: a positive number.

    Raises:
        ValueError: for a scale that is not positive and finite.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Scaled(tm.Sphere(), 3.0)
        >>> M.random(5).norm()
        tensor(3.0000)
        >>> M.dist(torch.tensor([3.0, 0.0]), torch.tensor([-3.0, 0.0])) / torch.pi
        tensor(3.)
    """

    scale: float

    def __post_init__(self) -> None:
        """Refuse a scale that is not a positive number."""
        require_tensors(self)
        scale = self.scale
        if not (isinstance(scale, Real) and math.isfinite(scale) and scale > 0):
            raise ValueError(f"Scaled: scale must be a positive number, got {scale!r}")

    @property
    def event_ndim(self) -> int:
        """The number of the inner manifold."""
        return self.manifold.event_ndim

    @property
    def length(self) -> float:  # type: ignore[override]
        """`scale`."""
        return self.scale

    def inward(self, x: Tensor) -> Tensor:
        """`x / scale`."""
        return x / self.scale

    def outward(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """`scale y`."""
        return y * self.scale

    def inner_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The same shape."""
        return shape
