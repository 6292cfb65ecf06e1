"""A user's point taken apart: its tensors, its factors with their manifolds, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchmanifold.manifolds import Manifold, Product

__all__ = [
    "Factor",
    "Leaves",
    "factors_of",
    "leaves_like",
    "leaves_of",
    "names_of",
    "of_tensors",
    "structure_like",
]

# The tensors of a point, in its own order.
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


def leaves_like(like: Any, x: Any, name: str) -> Leaves:
    """The tensors of `x` in the order of the point `like`; those of a dict are found by their keys.

    Raises:
        TypeError: if `x` is built from other parts than `like`; `name` is its name in the error.
    """
    if isinstance(like, Tensor):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(x).__name__}")
        return (x,)
    if isinstance(like, Mapping):
        if not isinstance(x, Mapping) or set(x) != set(like):
            found = f"the keys {list(x)}" if isinstance(x, Mapping) else type(x).__name__
            raise TypeError(f"{name}: expected a dict with the keys {list(like)}, got {found}")
        pairs = [(like[key], x[key], f"{name}[{key!r}]") for key in like]
    else:
        if not isinstance(x, tuple | list) or len(x) != len(like):
            found = f"{len(x)} parts" if isinstance(x, tuple | list) else type(x).__name__
            raise TypeError(f"{name}: expected a tuple of {len(like)} parts, got {found}")
        pairs = [(a, b, f"{name}[{i}]") for i, (a, b) in enumerate(zip(like, x, strict=True))]
    return tuple(leaf for a, b, what in pairs for leaf in leaves_like(a, b, what))


def names_of(point: Any, name: str) -> list[str]:
    """The user's name of each tensor of the point `name`, such as `x0['scale']` or `x0[1]`."""
    if isinstance(point, Tensor):
        return [name]
    if isinstance(point, Mapping):
        return [inner for key in point for inner in names_of(point[key], f"{name}[{key!r}]")]
    return [inner for i, part in enumerate(point) for inner in names_of(part, f"{name}[{i}]")]


def structure_like(like: Any, leaves: Iterable[Any]) -> Any:
    """The tensors `leaves`, or their shapes, in the form of the point `like`."""
    return _built(like, iter(leaves))


def _built(node: Any, remaining: Iterator[Any]) -> Any:
    if isinstance(node, Mapping):
        return {key: _built(node[key], remaining) for key in node}
    if isinstance(node, tuple | list):
        return tuple(_built(part, remaining) for part in node)
    return next(remaining)


def of_tensors(manifold: Manifold) -> bool:
    """Whether a point of the manifold is several tensors that belong together."""
    return not isinstance(manifold, Product) and not isinstance(manifold.event_ndim, int)


@dataclass(frozen=True)
class Factor:
    """One factor of a point: its name, its tensor (or tensors), and its manifold."""

    name: str
    point: Any
    manifold: Manifold

    def batches(self) -> list[tuple[int, ...]]:
        """The batch dimensions of each tensor."""
        ends = _numbers(self.manifold.event_ndim)
        return [
            tuple(leaf.shape[: leaf.ndim - n])
            for leaf, n in zip(leaves_of(self.point), ends, strict=True)
        ]


def _numbers(events: Any) -> list[int]:
    """The dimensions of one point, of each of its tensors."""
    if isinstance(events, int):
        return [events]
    return [
        n
        for part in (events.values() if isinstance(events, dict) else events)
        for n in _numbers(part)
    ]


def factors_of(
    x0: Any, manifold: Any, default: Callable[[Tensor], Manifold], name: str = "x0"
) -> tuple[Factor, ...]:
    """The factors of `x0`, from a manifold, a product, or tuples and dicts of manifolds.

    Raises:
        ValueError: if there are more or fewer manifolds than tensors, or other keys.
    """
    if isinstance(manifold, Manifold) and of_tensors(manifold):
        if isinstance(x0, Tensor):
            raise ValueError(
                f"{name}: a point of {manifold!r} is a tuple or dict of tensors, got one tensor of "
                f"shape {tuple(x0.shape)}"
            )
        return (Factor(name, x0, manifold),)
    if isinstance(x0, Tensor):
        if isinstance(manifold, Product) or not isinstance(manifold, Manifold | None):
            raise ValueError(
                f"manifold: {name} is one tensor, got {manifold!r}; pass a tuple or dict of "
                f"tensors as {name}, or one manifold"
            )
        return (Factor(name, x0, default(x0) if manifold is None else manifold),)
    inner = manifold.rebuilt(manifold.manifolds) if isinstance(manifold, Product) else manifold
    if isinstance(inner, Manifold):
        raise ValueError(
            f"manifold: {name} has {len(leaves_of(x0))} tensors, got {manifold!r}; pass a Product "
            f"or a tuple or dict of manifolds"
        )
    return tuple(
        factor
        for part, each, what in _pairs(x0, inner, name)
        for factor in factors_of(part, each, default, what)
    )


def _pairs(x0: Any, inner: Any, name: str) -> list[tuple[Any, Any, str]]:
    """The parts of a tuple or dict, each with its manifold and its name."""
    keyed = isinstance(x0, Mapping)
    keys = list(x0) if keyed else list(range(len(x0)))
    names = [f"{name}[{key!r}]" for key in keys]
    parts = [x0[key] for key in keys]
    if inner is None:
        return [(part, None, what) for part, what in zip(parts, names, strict=True)]
    if isinstance(inner, Mapping):
        if not keyed or set(inner) != set(x0):
            found = f"those of {name} are {sorted(x0)}" if keyed else f"{name} is a tuple"
            raise ValueError(f"manifold: its keys are {sorted(inner)}, {found}")
        inner = [inner[key] for key in keys]
    if len(parts) != len(inner):
        raise ValueError(f"manifold: {name} has {len(parts)} parts, got {len(inner)} manifolds")
    return list(zip(parts, inner, names, strict=True))
