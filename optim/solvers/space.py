"""Points of a solver: tensors, tuples or dicts of tensors on manifolds, as vectors and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds import Manifold, Product
from torchmanifold.optim.solvers.frames import Frame, frame
from torchmanifold.optim.solvers.rows import Many, One, Rows

__all__ = ["Leaves", "Part", "Space", "leaves_of", "names_of", "structure_like"]

# The tensors of a point, one for each factor.
Leaves = tuple[Tensor, ...]


def leaves_of(point: Any) -> Leaves:
    """The tensors in a tensor, or in tuples, lists and dicts of them."""
    if isinstance(point, Tensor):
        return (point,)
    if isinstance(point, Mapping):
        return tuple(leaf for key in point for leaf in leaves_of(point[key]))
    if isinstance(point, Sequence) and not isinstance(point, str):
        return tuple(leaf for part in point for leaf in leaves_of(part))
    raise TypeError(
        f"x0: expected a tensor, or a tuple or dict of tensors, got {type(point).__name__}"
    )


def names_of(point: Any, name: str) -> list[str]:
    """The user's name of each tensor of the point `name`, such as `x0['scale']` or `x0[1]`."""
    if isinstance(point, Tensor):
        return [name]
    if isinstance(point, Mapping):
        return [inner for key in point for inner in names_of(point[key], f"{name}[{key!r}]")]
    return [inner for i, part in enumerate(point) for inner in names_of(part, f"{name}[{i}]")]


def structure_like(like: Any, leaves: Leaves) -> Any:
    """The tensors `leaves` in the form of the point `like`."""
    remaining = iter(leaves)

    def build(node: Any) -> Any:
        if isinstance(node, Tensor):
            return next(remaining)
        if isinstance(node, Mapping):
            return {key: build(node[key]) for key in node}
        return tuple(build(part) for part in node)

    return build(like)


@dataclass(frozen=True)
class Part:
    """One tensor of a point: its manifold and the shape behind the dimensions of the problems."""

    manifold: Manifold
    shape: tuple[int, ...]
    complex: bool
    size: int

    def dim(self) -> int:
        """Degrees of freedom of all points in the tensor."""
        cut = len(self.shape) - self.manifold.event_ndim
        count = torch.Size(self.shape[:cut]).numel()
        return count * self.manifold.dim(self.shape[cut:])


@dataclass(frozen=True)
class Space:
    """The space of a solver: the manifolds of the tensors of a point, for all problems.

    Args:
        like: a point in the user's form.
        parts: one for each tensor.
        problems: the shape of the problems, in front of each tensor of a user's point.
        rows: the arithmetic of vectors and scalars.
    """

    like: Any
    parts: tuple[Part, ...]
    problems: tuple[int, ...]
    rows: Rows

    @staticmethod
    def of(x0: Any, manifolds: tuple[Manifold, ...], problems: tuple[int, ...]) -> Space:
        """The space of the point `x0`, with one manifold for each of its tensors."""
        leaves = leaves_of(x0)
        parts = []
        for leaf, manifold in zip(leaves, manifolds, strict=True):
            shape = tuple(leaf.shape[len(problems) :])
            size = torch.Size(shape).numel() * (2 if leaf.is_complex() else 1)
            parts.append(Part(manifold, shape, leaf.is_complex(), size))
        dtype, device = leaves[0].real.dtype, leaves[0].device
        count = torch.Size(problems).numel()
        rows: Rows = One(dtype, device)
        if count != 1 or device.type != "cpu":
            rows = Many(dtype, device, count)
        return Space(x0, tuple(parts), problems, rows)

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
        return sum(part.dim() for part in self.parts)

    @property
    def size(self) -> int:
        """Entries of a vector."""
        return sum(part.size for part in self.parts)

    # -- points ----------------------------------------------------------------------------------

    def take_in(self, x: Any) -> Leaves:
        """A user's point as the tensors of the solver, `(count, *shape)` or `shape`."""
        front = () if self.single else (self.rows.count,)
        return tuple(
            leaf.reshape((*front, *part.shape))
            for leaf, part in zip(leaves_of(x), self.parts, strict=True)
        )

    def give_out(self, leaves: Leaves) -> Any:
        """The tensors of the solver as a user's point."""
        if len(leaves) == 1 and leaves[0].ndim == len(self.problems) + len(self.parts[0].shape):
            whole: Leaves = leaves  # the shape is already right
            if len(self.problems) > 1:
                whole = self._shaped(leaves)
        else:
            whole = self._shaped(leaves)
        return whole[0] if isinstance(self.like, Tensor) else structure_like(self.like, whole)

    def _shaped(self, leaves: Leaves) -> Leaves:
        return tuple(
            leaf.reshape((*self.problems, *part.shape))
            for leaf, part in zip(leaves, self.parts, strict=True)
        )

    def residual(self, leaves: Leaves) -> Tensor:
        """The largest residual of each problem, in the shape of the problems."""
        worst = [
            part.manifold.residual(leaf).reshape((*self.problems, -1)).amax(-1)
            for leaf, part in zip(leaves, self.parts, strict=True)
        ]
        return torch.stack(worst).amax(0)

    # -- vectors ---------------------------------------------------------------------------------

    def vector(self, leaves: Leaves) -> Tensor:
        """The tensors of a point or tangent vector as one real vector for each problem."""
        if len(leaves) == 1 and not self.parts[0].complex:
            return self.rows.flatten(leaves[0])
        flat = [
            self.rows.flatten(torch.view_as_real(leaf.resolve_conj()) if part.complex else leaf)
            for leaf, part in zip(leaves, self.parts, strict=True)
        ]
        return torch.cat(flat, dim=-1)

    def tensors(self, vector: Tensor) -> Leaves:
        """The vectors as tensors of the shapes of a point."""
        front = () if self.single else (self.rows.count,)
        if len(self.parts) == 1 and not self.parts[0].complex:
            return (vector.view((*front, *self.parts[0].shape)),)
        found = []
        for part, flat in zip(
            self.parts, vector.split([part.size for part in self.parts], dim=-1), strict=True
        ):
            if part.complex:
                flat = torch.view_as_complex(flat.reshape((*front, *part.shape, 2)))
            else:
                flat = flat.reshape((*front, *part.shape))
            found.append(flat)
        return tuple(found)

    # -- geometry --------------------------------------------------------------------------------

    def frames(self, x: Leaves) -> tuple[Frame, ...]:
        """The frame of each part at the point."""
        return tuple(frame(part.manifold, leaf) for part, leaf in zip(self.parts, x, strict=True))

    def retract(self, x: Leaves, u: Leaves) -> Leaves:
        """Move each part along its tangent vector."""
        return tuple(
            part.manifold.retract(leaf, v) for part, leaf, v in zip(self.parts, x, u, strict=True)
        )


def manifolds_of(x0: Any, manifold: Any, default: Callable[[Tensor], Manifold]) -> tuple[Any, ...]:
    """One manifold for each tensor of `x0`, from a manifold, a product, or tuples and dicts.

    Raises:
        ValueError: if there are more or fewer manifolds than tensors, or other keys.
    """
    if isinstance(x0, Tensor):
        if isinstance(manifold, Product) or not isinstance(manifold, Manifold | None):
            raise ValueError(
                f"manifold: x0 is one tensor, got {manifold!r}; pass a tuple or dict of tensors as "
                f"x0, or one manifold"
            )
        return (default(x0) if manifold is None else manifold,)
    if manifold is None:
        return tuple(default(leaf) for leaf in leaves_of(x0))
    inner = manifold.manifolds if isinstance(manifold, Product) else manifold
    if isinstance(inner, Manifold):
        raise ValueError(
            f"manifold: x0 has {len(leaves_of(x0))} tensors, got {manifold!r}; pass a Product or a "
            f"tuple or dict of manifolds"
        )
    if isinstance(x0, Mapping):
        if isinstance(inner, Mapping):
            if set(inner) != set(x0):
                raise ValueError(
                    f"manifold: its keys are {sorted(inner)}, those of x0 are {sorted(x0)}"
                )
            pairs = [(x0[key], inner[key]) for key in x0]
        else:
            pairs = _zipped(list(x0.values()), list(inner))
    else:
        pairs = _zipped(list(x0), list(inner))
    return tuple(found for part, each in pairs for found in manifolds_of(part, each, default))


def _zipped(points: list[Any], manifolds: list[Any]) -> list[tuple[Any, Any]]:
    if len(points) != len(manifolds):
        raise ValueError(f"manifold: x0 has {len(points)} parts, got {len(manifolds)} manifolds")
    return list(zip(points, manifolds, strict=True))
