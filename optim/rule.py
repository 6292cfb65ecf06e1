"""The parts of the rules of Riemannian optimizers: pure functions of points."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds import Manifold

__all__ = ["State", "extended", "move", "second_moment_of"]

#: the state of a rule for stacked weights between two steps, by name
State = dict[str, Tensor]


def move(manifold: Manifold, x: Tensor, direction: Tensor, lr: float | Tensor) -> Tensor:
    """`retract(x, -lr direction)`; `x` itself, to the last bit, if the learning rate is 0."""
    if isinstance(lr, Tensor):
        lr = lr.squeeze()
        y = manifold.retract(x, -lr * direction)
        return torch.where((lr == 0).to(x.device, non_blocking=True), x, y)
    return x if lr == 0 else manifold.retract(x, -lr * direction)


def second_moment_of(manifold: Manifold, x: Tensor, g: Tensor, kind: str) -> Tensor:
    """`<g, g>_x`, one number for each point, or the squares of the entries of `g`."""
    return manifold.inner(x, g, g) if kind == "matrix" else (g * g.conj()).real


def extended(numbers: Tensor, x: Tensor) -> Tensor:
    """`numbers` with as many dimensions as `x`, to multiply it."""
    return numbers.reshape(numbers.shape + (1,) * (x.ndim - numbers.ndim))
