"""Other libraries' constraints, behind one signature: `(module, name, manifold) -> None`.

Each registers its parametrization with its own defaults and then assigns the old weight, so every
method begins at the same point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import geotorch
import torch
from torch import nn
from torch.nn.utils import parametrizations

from torchmanifold.manifolds import (
    FixedRank,
    Manifold,
    SpecialOrthogonal,
    Stiefel,
    SymmetricPositiveDefinite,
)

__all__ = ["GEOTORCH", "TORCH", "Register", "geotorch_constraint", "torch_orthogonal"]

Register = Callable[[nn.Module, str, Manifold], None]

TORCH = (Stiefel, SpecialOrthogonal)

GEOTORCH: Mapping[type[Manifold], Callable[[nn.Module, str, Any], nn.Module]] = {
    Stiefel: lambda module, name, _: geotorch.orthogonal(module, name),
    SpecialOrthogonal: lambda module, name, _: geotorch.orthogonal(module, name),
    SymmetricPositiveDefinite: lambda module, name, _: geotorch.positive_definite(module, name),
    FixedRank: lambda module, name, M: geotorch.fixed_rank(module, name, rank=M.rank),
}


def _start_at(module: nn.Module, name: str, register: Callable[[], nn.Module]) -> None:
    start = getattr(module, name).detach().clone()
    register()
    with torch.no_grad():
        setattr(module, name, start)


def torch_orthogonal(module: nn.Module, name: str, manifold: Manifold) -> None:
    """`torch.nn.utils.parametrizations.orthogonal`: Householder if tall, exponential if square."""
    _start_at(module, name, lambda: parametrizations.orthogonal(module, name))


def geotorch_constraint(module: nn.Module, name: str, manifold: Manifold) -> None:
    """The constraint of geotorch for the kind of manifold."""
    register = GEOTORCH[type(manifold)]
    _start_at(module, name, lambda: register(module, name, manifold))
