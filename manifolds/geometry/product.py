"""Products of manifolds: points are tuples of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.manifold import Manifold

__all__ = ["Points", "Product"]


Points = tuple[Tensor, ...]


@dataclass(frozen=True)
class Product:
    """The product of manifolds: points are tuples with one tensor for each factor.

    The metric is the sum of the factors' metrics. Methods are those of a manifold, with tuples
    in the place of tensors.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Product(tm.Stiefel(), tm.Sphere())
        >>> x = M.random((4, 2), (3,))
        >>> y = M.retract(x, M.random_tangent(x))
        >>> bool(M.residual(y) < 1e-5)
        True
    """

    manifolds: tuple[Manifold, ...]

    def __init__(self, *manifolds: Manifold) -> None:
        """Take the factors as arguments."""
        if not manifolds:
            raise ValueError("Product: at least one manifold is needed, got none")
        object.__setattr__(self, "manifolds", manifolds)

    def _each(self, method: str, *points: Points) -> Points:
        for point in points:
            if len(point) != len(self.manifolds):
                raise ValueError(
                    f"Product.{method}: a point is a tuple of {len(self.manifolds)} tensors, "
                    f"got {len(point)}"
                )
        return tuple(
            getattr(manifold, method)(*parts)
            for manifold, *parts in zip(self.manifolds, *points, strict=True)
        )

    def residual(self, x: Points) -> Tensor:
        """The largest residual of the factors."""
        return torch.stack(self._each("residual", x)).amax(0)

    def project(self, z: Points) -> Points:
        """The nearest point, factor by factor."""
        return self._each("project", z)

    def tangent(self, x: Points, z: Points) -> Points:
        """Orthogonal projection to the tangent space, factor by factor."""
        return self._each("tangent", x, z)

    def inner(self, x: Points, u: Points, v: Points) -> Tensor:
        """The sum of the factors' inner products."""
        return torch.stack(self._each("inner", x, u, v)).sum(0)

    def norm(self, x: Points, u: Points) -> Tensor:
        """The norm of a tangent vector."""
        return self.inner(x, u, u).clamp_min(0).sqrt()

    def gradient(self, x: Points, egrad: Points) -> Points:
        """The Riemannian gradient, factor by factor."""
        return self._each("gradient", x, egrad)

    def retract(self, x: Points, v: Points) -> Points:
        """Move along a tangent vector, factor by factor."""
        return self._each("retract", x, v)

    def exp(self, x: Points, v: Points) -> Points:
        """The geodesic, factor by factor."""
        return self._each("exp", x, v)

    def log(self, x: Points, y: Points) -> Points:
        """The inverse of `exp`, factor by factor."""
        return self._each("log", x, y)

    def dist(self, x: Points, y: Points) -> Tensor:
        """Geodesic distance: the root of the sum of squares."""
        return torch.linalg.vector_norm(torch.stack(self._each("dist", x, y)), dim=0)

    def transport(self, x: Points, v: Points, w: Points) -> Points:
        """`w` moved along the retraction of `v`, factor by factor."""
        return self._each("transport", x, v, w)

    def random(
        self,
        *shapes: tuple[int, ...],
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Points:
        """A random point, from one shape for each factor."""
        return tuple(
            manifold.random(*shape, generator=generator, dtype=dtype, device=device)
            for manifold, shape in zip(self.manifolds, shapes, strict=True)
        )

    def random_tangent(self, x: Points, generator: torch.Generator | None = None) -> Points:
        """A random tangent vector of norm 1."""
        scale = len(self.manifolds) ** -0.5
        return tuple(
            scale * manifold.random_tangent(point, generator=generator)
            for manifold, point in zip(self.manifolds, x, strict=True)
        )

    def dim(self, shapes: tuple[tuple[int, ...], ...]) -> int:
        """The sum of the factors' dimensions."""
        return sum(m.dim(shape) for m, shape in zip(self.manifolds, shapes, strict=True))
