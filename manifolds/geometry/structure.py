"""Points that consist of several tensors: tuples and dicts, nested to any depth."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "Point",
    "Shape",
    "is_shape",
    "leaves",
    "mapped",
    "normal",
    "require_generator",
    "scaled",
    "sizes",
]

# One tensor, or a tuple or dict of points
Point = Any
# The sizes of one tensor, or a tuple or dict of shapes
Shape = Any


def mapped(function: Callable[..., Any], *points: Point) -> Any:
    """`function` of the tensors (or other leaves) at the same place in all points."""
    first = points[0]
    if isinstance(first, dict):
        return {name: mapped(function, *(p[name] for p in points)) for name in first}
    if type(first) is tuple:
        return tuple(mapped(function, *parts) for parts in zip(*points, strict=True))
    return function(*points)


def leaves(point: Point) -> list[Any]:
    """The tensors of a point, in its own order."""
    if isinstance(point, dict):
        return [leaf for part in point.values() for leaf in leaves(part)]
    if type(point) is tuple:
        return [leaf for part in point for leaf in leaves(part)]
    return [point]


def is_shape(shape: Shape) -> bool:
    """Whether these are the sizes of one tensor."""
    return not isinstance(shape, dict) and all(isinstance(size, int) for size in shape)


def sizes(owner: object, given: tuple[Any, ...]) -> Shape:
    """The shape in the arguments of `random`: integers one by one, or a shape.

    Raises:
        TypeError: for arguments that are not a shape.
    """
    if any(isinstance(part, tuple | list | dict) for part in given):  # shapes of the factors
        return given[0] if len(given) == 1 else given
    try:
        return given if is_shape(given) else tuple(map(operator.index, given))
    except TypeError:
        raise TypeError(
            f"{owner!r}: the sizes of a point are integers, as in random(4, 3), got {given!r}"
        ) from None


def require_generator(generator: object) -> None:
    """Raise a TypeError with the remedy for a seed in place of a generator."""
    if not isinstance(generator, torch.Generator | None):
        raise TypeError(
            f"generator must be a torch.Generator or None, got {generator!r}; a seed is "
            f"torch.Generator().manual_seed(0)"
        )


def normal(
    shape: Shape,
    *,
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Point:
    """Standard normal tensors of the given shapes.

    Raises:
        TypeError: for a generator that is none, such as a seed.
    """
    require_generator(generator)

    def draw(part: Shape) -> Point:
        if is_shape(part):
            return torch.randn(tuple(part), generator=generator, dtype=dtype, device=device)
        if isinstance(part, dict):
            return {name: draw(inner) for name, inner in part.items()}
        return tuple(draw(inner) for inner in part)

    return draw(shape)


def scaled(numbers: Tensor, u: Point, event_ndim: Any) -> Point:
    """`u` times one number for each point of the batch; `event_ndim` is nested as `u` is."""

    def scale(part: Tensor, ndim: int) -> Tensor:
        return part * numbers.reshape(numbers.shape + (1,) * ndim).to(part.device)

    return mapped(scale, u, event_ndim)
