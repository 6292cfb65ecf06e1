"""A trial of one manifold at one shape: the points, vectors and comparisons of the invariants."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.structure import (
    Point,
    Shape,
    is_shape,
    leaves,
    mapped,
    scaled,
)

__all__ = ["Trial"]


@dataclass(frozen=True)
class Trial:
    """A manifold, the shape of one point, and a source of random numbers."""

    M: Manifold
    shape: Shape
    dtype: torch.dtype
    generator: torch.Generator

    @property
    def eps(self) -> float:
        """The rounding of the dtype."""
        return torch.finfo(self.dtype).eps

    @property
    def reach(self) -> float:
        """A length of steps for which the retraction is exact; short for Newton-Schulz."""
        return 0.01 if "NewtonSchulz" in repr(self.M) else 1.0

    def in_batch(self, *batch: int) -> Shape:
        """The shape with batch dimensions in front."""

        def put(shape: Shape) -> Shape:
            if is_shape(shape):
                return (*batch, *shape)
            if isinstance(shape, dict):
                return {name: put(part) for name, part in shape.items()}
            return tuple(put(part) for part in shape)

        return put(self.shape)

    def point(self, *batch: int) -> Point:
        """A random point, or a batch of them."""
        return self.M.random(self.in_batch(*batch), generator=self.generator, dtype=self.dtype)

    def normal(self, like: Point) -> Point:
        """Standard normal entries."""

        def draw(part: Tensor) -> Tensor:
            return torch.randn(part.shape, generator=self.generator, dtype=part.dtype)

        return mapped(draw, like)

    def unit(self, x: Point) -> Point:
        """A random tangent vector of norm 1."""
        return self.M.random_tangent(x, generator=self.generator)

    def short(self, x: Point) -> Point:
        """Random tangent vectors within which geodesics are unique and stay on the manifold."""
        if self.M.complete:
            return self.scaled(0.3, self.unit(x))
        size = leaves(x)[0].shape[: -len(self.shape) or None] if is_shape(self.shape) else ()
        return self.scaled(0.3, self.M.log(x, self.point(*size)))

    def dot(self, u: Point, v: Point) -> Tensor:
        """The Frobenius inner product over the whole batch."""
        parts = zip(leaves(u), leaves(v), strict=True)
        return torch.stack([(a.conj() * b).sum().real for a, b in parts]).sum()

    def scaled(self, c: float, u: Point) -> Point:
        """`c u`."""
        return mapped(lambda part: c * part, u)

    def rows(self, numbers: Tensor, u: Point) -> Point:
        """`u` times one number for each point of the batch."""
        return scaled(numbers, u, self.M.event_ndim)

    def tolerance(self, factor: float = 100.0) -> float:
        """`factor eps sqrt(entries)`, the tolerance of a comparison."""
        entries = sum(part.numel() for part in leaves(self.point()))
        return factor * self.eps * math.sqrt(entries)
