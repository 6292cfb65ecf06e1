"""The space of a solver: points on manifolds as vectors and back, for all problems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds import Manifold
from torchmanifold.optim.solvers.frames import Frame, frame
from torchmanifold.optim.solvers.parts import (
    Factor,
    Leaves,
    leaves_like,
    leaves_of,
    of_tensors,
    structure_like,
)
from torchmanifold.optim.solvers.rows import Many, One, Rows

__all__ = ["Leaf", "Part", "Space"]


@dataclass(frozen=True)
class Leaf:
    """One tensor of a point: its shape behind the dimensions of the problems."""

    shape: tuple[int, ...]
    complex: bool
    size: int

    @staticmethod
    def of(tensor: Tensor, skipped: int) -> Leaf:
        """The leaf of a tensor whose first dimensions are those of the problems."""
        shape = tuple(tensor.shape[skipped:])
        size = torch.Size(shape).numel() * (2 if tensor.is_complex() else 1)
        return Leaf(shape, tensor.is_complex(), size)


@dataclass(frozen=True)
class Part:
    """One manifold of a point: its tensor, or the tensors that are a point of it together."""

    manifold: Manifold
    leaves: tuple[Leaf, ...]
    dim: int  # degrees of freedom, of all points of one problem

    @staticmethod
    def of(factor: Factor, skipped: int) -> Part:
        """The part of a factor whose first dimensions are those of the problems."""
        M, tensors = factor.manifold, leaves_of(factor.point)
        leaves = tuple(Leaf.of(tensor, skipped) for tensor in tensors)
        shapes: Any = structure_like(factor.point, tuple(leaf.shape for leaf in leaves))
        count = torch.Size(factor.batches()[0][skipped:]).numel()
        return Part(M, leaves, count * M.dim(shapes, tensors[0].dtype))


@dataclass(frozen=True)
class Space:
    """The space of a solver: the manifolds of the tensors of a point, for all problems.

    Args:
        like: a point in the user's form.
        parts: one for each factor.
        problems: the shape of the problems, in front of each tensor of a user's point.
        rows: the arithmetic of vectors and scalars.
    """

    like: Any
    parts: tuple[Part, ...]
    problems: tuple[int, ...]
    rows: Rows

    @staticmethod
    def of(x0: Any, factors: tuple[Factor, ...], problems: tuple[int, ...]) -> Space:
        """The space of the point `x0`, from its factors."""
        parts = tuple(Part.of(factor, len(problems)) for factor in factors)
        first = leaves_of(x0)[0]
        dtype, device = first.real.dtype, first.device
        count = torch.Size(problems).numel()
        rows: Rows = One(dtype, device)
        if count != 1 or device.type != "cpu":
            rows = Many(dtype, device, count)
        return Space(x0, parts, problems, rows)

    def taken(self, count: int) -> Space:
        """The space of fewer problems."""
        rows = replace(self.rows, count=count)
        return replace(self, problems=(count,), rows=rows)

    @property
    def single(self) -> bool:
        """Whether vectors are `(N,)`, without a dimension of problems."""
        return isinstance(self.rows, One)

    @property
    def dim(self) -> int:
        """Degrees of freedom of one problem."""
        return sum(part.dim for part in self.parts)

    @property
    def size(self) -> int:
        """Entries of a vector."""
        return sum(leaf.size for leaf in self.leaves)

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The tensors of all parts."""
        return tuple(leaf for part in self.parts for leaf in part.leaves)

    @cached_property
    def plain(self) -> bool:
        """Whether each part is one tensor."""
        return not any(of_tensors(part.manifold) for part in self.parts)

    def grouped(self, leaves: Leaves) -> tuple[Any, ...]:
        """One point for each part: a tensor, or a tuple or dict of tensors."""
        if self.plain:
            return leaves
        remaining = iter(leaves)
        return tuple(
            structure_like(part.manifold.event_ndim, tuple(islice(remaining, len(part.leaves))))
            for part in self.parts
        )

    def flat(self, points: Iterable[Any]) -> Leaves:
        """The tensors of one point for each part."""
        if self.plain:
            return tuple(points)
        return tuple(leaf for point in points for leaf in leaves_of(point))

    def each(self, frames: tuple[Frame, ...], name: str, *leaves: Leaves) -> Leaves:
        """A method of the frames of all parts."""
        parts = zip(frames, *map(self.grouped, leaves), strict=True)
        return self.flat(getattr(frame, name)(*points) for frame, *points in parts)

    # -- points ----------------------------------------------------------------------------------

    def take_in(self, x: Any, name: str = "x0") -> Leaves:
        """A user's point as the tensors of the solver, `(count, *shape)` or `shape`."""
        front = () if self.single else (self.rows.count,)
        return tuple(
            tensor.reshape((*front, *leaf.shape))
            for tensor, leaf in zip(leaves_like(self.like, x, name), self.leaves, strict=True)
        )

    def give_out(self, leaves: Leaves) -> Any:
        """The tensors of the solver as a user's point."""
        if len(leaves) == 1 and leaves[0].ndim == len(self.problems) + len(self.leaves[0].shape):
            whole: Leaves = leaves  # the shape is already right
            if len(self.problems) > 1:
                whole = self._shaped(leaves)
        else:
            whole = self._shaped(leaves)
        return whole[0] if isinstance(self.like, Tensor) else structure_like(self.like, whole)

    def _shaped(self, leaves: Leaves) -> Leaves:
        return tuple(
            tensor.reshape((*self.problems, *leaf.shape))
            for tensor, leaf in zip(leaves, self.leaves, strict=True)
        )

    def residual(self, leaves: Leaves) -> Tensor:
        """The largest residual of each problem, in the shape of the problems."""
        worst = [
            part.manifold.residual(point).reshape((*self.problems, -1)).amax(-1)
            for point, part in zip(self.grouped(leaves), self.parts, strict=True)
        ]
        return torch.stack(worst).amax(0)

    # -- vectors ---------------------------------------------------------------------------------

    def vector(self, leaves: Leaves) -> Tensor:
        """The tensors of a point or tangent vector as one real vector for each problem."""
        if len(leaves) == 1 and not self.leaves[0].complex:
            return self.rows.flatten(leaves[0])
        flat = [
            self.rows.flatten(torch.view_as_real(tensor.resolve_conj()) if leaf.complex else tensor)
            for tensor, leaf in zip(leaves, self.leaves, strict=True)
        ]
        return torch.cat(flat, dim=-1)

    def tensors(self, vector: Tensor) -> Leaves:
        """The vectors as tensors of the shapes of a point."""
        front = () if self.single else (self.rows.count,)
        if len(self.leaves) == 1 and not self.leaves[0].complex:
            return (vector.view((*front, *self.leaves[0].shape)),)
        found = []
        sizes = [leaf.size for leaf in self.leaves]
        for leaf, flat in zip(self.leaves, vector.split(sizes, dim=-1), strict=True):
            if leaf.complex:
                flat = torch.view_as_complex(flat.reshape((*front, *leaf.shape, 2)))
            else:
                flat = flat.reshape((*front, *leaf.shape))
            found.append(flat)
        return tuple(found)

    @staticmethod
    def generic(like: Tensor) -> Tensor:
        """Coordinates in no special direction, of the shape of `like`.

        They are not a draw of a generator, which may be the very one that a point came from.
        """
        numbers = torch.arange(1, like.numel() + 1, dtype=torch.float64)
        return numbers.square().cos().to(like).reshape(like.shape)

    # -- geometry --------------------------------------------------------------------------------

    def frames(self, x: Leaves) -> tuple[Frame, ...]:
        """The frame of each part at the point."""
        points = zip(self.parts, self.grouped(x), strict=True)
        return tuple(frame(part.manifold, point) for part, point in points)

    def retract(self, x: Leaves, u: Leaves) -> Leaves:
        """Move each part along its tangent vector."""
        parts = zip(self.parts, self.grouped(x), self.grouped(u), strict=True)
        return self.flat(part.manifold.retract(point, v) for part, point, v in parts)
