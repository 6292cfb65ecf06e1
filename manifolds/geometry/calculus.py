"""Differences and derivatives of points that may consist of several tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.structure import Point, leaves, mapped

__all__ = ["combined", "cubic", "directional", "euclidean_gradient", "gap", "size"]


def size(u: Point) -> float:
    """The Frobenius norm over all tensors of a point or vector."""
    parts = [torch.linalg.vector_norm(part.detach().to(torch.complex128)) for part in leaves(u)]
    return float(torch.linalg.vector_norm(torch.stack(parts)))


def gap(a: Point, b: Point) -> float:
    """`||a - b|| / (1 + ||b||)`; infinite if the shapes differ, NaN if `a` or `b` has a NaN."""
    if [t.shape for t in leaves(a)] != [t.shape for t in leaves(b)]:
        return math.inf
    return size(mapped(torch.sub, a, b)) / (1 + size(b))


def combined(a: Point, c: float, b: Point) -> Point:
    """`a + c b`."""
    return mapped(lambda s, t: s + c * t, a, b)


def directional(f: Callable[[Point], Any], x: Point, u: Point) -> tuple[Any, Any]:
    """`f(x)` and its derivative along `u`, for a function between points or to numbers."""
    t = torch.zeros((), dtype=leaves(u)[0].real.dtype, requires_grad=True)

    def along(t: Tensor) -> tuple[Tensor, ...]:
        return tuple(leaves(f(mapped(lambda a, b: a + t * b, x, u))))

    values, slopes = torch.autograd.functional.jvp(along, t, torch.ones_like(t), create_graph=True)
    shape = f(x)
    ends, derivatives = iter(values), iter(slopes)
    return mapped(lambda _: next(ends), shape), mapped(lambda _: next(derivatives), shape)


def cubic(target: Point) -> Callable[[Point], Tensor]:
    """A cost with generic derivatives: the sum of the cubes of the entries of `y - target`."""

    def f(y: Point) -> Tensor:
        offsets = [a - b for a, b in zip(leaves(y), leaves(target), strict=True)]
        reals = [torch.view_as_real(d) if d.is_complex() else d for d in offsets]
        return torch.stack([(d**3).sum() for d in reals]).sum()

    return f


def euclidean_gradient(f: Callable[[Point], Tensor], x: Point) -> Point:
    """The gradient of `f` in the embedding space, differentiable if `x` requires a gradient."""
    with torch.enable_grad():
        free = mapped(lambda p: p if p.requires_grad else p.detach().requires_grad_(), x)
        again = any(part.requires_grad for part in leaves(x))
        parts = iter(torch.autograd.grad(f(free), leaves(free), create_graph=again))
        return mapped(lambda _: next(parts), x)
