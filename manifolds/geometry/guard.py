"""The treatment of the arguments of every method: broadcasting and precision."""

from __future__ import annotations

import functools
from typing import Any, cast

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import in_working_precision
from torchmanifold.manifolds.linalg.precision import F

__all__ = ["guarded"]


def guarded(method: F) -> F:
    """A method `(manifold, x, ...)` whose tensors broadcast, in float32 or a wider dtype.

    The batch dimensions of all tensors are broadcast; the dimensions of one point must agree.
    Other arguments are passed on. `in_working_precision` treats half precision and autocast.
    """
    in_precision = in_working_precision(method)

    @functools.wraps(method)
    def wrapper(manifold: Any, *points: Any) -> Any:
        first = points[0]
        # A point of a product is not a tensor; the factors have their own guards.
        if isinstance(first, Tensor) and any(
            isinstance(p, Tensor) and p.shape != first.shape for p in points[1:]
        ):
            points = _broadcast(manifold, points)
        return in_precision(manifold, *points)

    return cast(F, wrapper)


def _broadcast(manifold: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    n = manifold.event_ndim
    points = [p for p in arguments if isinstance(p, Tensor)]
    events = {tuple(p.shape[max(p.ndim - n, 0) :]) for p in points}
    if len(events) > 1:
        raise ValueError(
            f"{manifold!r}: points and vectors must have one shape, apart from batch dimensions in "
            f"front, got {' and '.join(str(tuple(p.shape)) for p in points)}"
        )
    alike = iter(torch.broadcast_tensors(*points))
    return tuple(next(alike) if isinstance(p, Tensor) else p for p in arguments)
