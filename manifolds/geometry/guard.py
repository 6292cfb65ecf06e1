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
        if isinstance(first, Tensor):
            numbers, is_complex = manifold.numbers, first.is_complex()
            other = numbers != "either" and is_complex is not (numbers == "complex")
            if other or not (is_complex or first.is_floating_point()):
                manifold.check_dtype(first.dtype)
            for p in points[1:]:
                if isinstance(p, Tensor):
                    if p.shape != first.shape:
                        points = _broadcast(manifold, points)
                        break
                elif not isinstance(p, torch.dtype | None):
                    _explain(manifold, method.__name__, points)
        try:
            return in_precision(manifold, *points)
        except (AttributeError, RuntimeError, TypeError):
            _explain(manifold, method.__name__, points)
            raise

    return cast(F, wrapper)


def _explain(manifold: Any, name: str, points: tuple[Any, ...]) -> None:
    """Raise a TypeError that says so if a call failed because of an argument that is no point."""
    if not isinstance(manifold.event_ndim, int):
        return
    for point in points:
        if not isinstance(point, Tensor):
            if isinstance(point, torch.dtype | None):
                continue
            raise TypeError(
                f"{manifold!r}.{name}: points and vectors are tensors, got "
                f"{type(point).__name__}; use torch.as_tensor"
            ) from None
        manifold.check_dtype(point.dtype)


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
