"""All movable weights of a module as one point: tensors by name, each on its manifold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from torchmanifold.manifolds import Manifold
from torchmanifold.parametrize import cached
from torchmanifold.weights.points import check_movable, maps_before, move, point, trivialization_of
from torchmanifold.weights.record import constrained, manifold_of, recorded, stamp
from torchmanifold.weights.sharding import is_sharded

__all__ = ["JointPoint"]


class _Called(nn.Module):
    """A function of a model, as a module that holds the model."""

    def __init__(self, model: nn.Module, fun: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.fun = fun

    def forward(self, *args: Any) -> Any:
        return self.fun(self.model, *args)


class JointPoint:
    """The weights of a model that require a gradient, as a point: a dict of tensors by name.

    A constrained weight has the name by which it was constrained, in either way, and lies on its
    manifold. Every other parameter has its own name, and no manifold.

    Args:
        model: not changed before `write`.

    Attributes:
        manifolds: one for each name; None for a free tensor.

    Raises:
        ValueError: if no weight requires a gradient, if one is sharded over processes, or if maps
            before and after a trivialization keep its point from being set.

    Example:
        >>> import torch, torchmanifold as tm
        >>> from torchmanifold.weights import JointPoint
        >>> layer = tm.constrain(torch.nn.Linear(3, 2), "weight", tm.Stiefel())
        >>> {name: tuple(value.shape) for name, value in JointPoint(layer).values().items()}
        {'weight': (2, 3), 'bias': (2,)}
    """

    def __init__(self, model: nn.Module) -> None:
        """Find the weights."""
        self.model = model
        self.manifolds: dict[str, Manifold | None] = {}
        self._chains: dict[str, Any] = {}
        self._parameters: dict[str, Tensor] = {}
        stamp(model)
        computed: set[Tensor] = set()
        for name, chain, manifold in _chains(model):
            try:
                check_movable(chain)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            # The tensors from which the point is computed move with it.
            before = [chain, *maps_before(chain)]
            sources = [p for link in before for p in link.parameters(recurse=link is not chain)]
            computed.update(sources)
            if any(p.requires_grad for p in sources) and chain not in self._chains.values():
                self._chains[name] = chain
                self.manifolds[name] = manifold
        for name, parameter in model.named_parameters():
            if is_sharded(parameter):
                raise ValueError(f"{name} is sharded over processes; use a model that is not")
            if parameter.requires_grad and parameter not in computed:
                self._parameters[name] = parameter
                self.manifolds[name] = manifold_of(parameter)
        if not self.manifolds:
            raise ValueError(f"no weight of this {type(model).__name__} requires a gradient")

    def values(self) -> dict[str, Tensor]:
        """The present point, as tensors of its own."""
        found = {name: point(chain).detach().clone() for name, chain in self._chains.items()}
        return found | {name: p.detach().clone() for name, p in self._parameters.items()}

    def function(self, fun: Callable[..., Any]) -> Callable[..., Any]:
        """`(x, *args)` to `fun(model, *args)`, where the weights of the model are those of `x`.

        Gradients reach `x`; the model itself stays as it is.
        """
        called = _Called(self.model, fun)

        def of_point(x: dict[str, Tensor], *args: Any) -> Any:
            plain = {f"model.{name}": x[name] for name in self._parameters}
            with ExitStack() as held:
                for name, chain in self._chains.items():
                    trivialization: Any = trivialization_of(chain)
                    held.enter_context(trivialization.held_at(x[name]))
                held.enter_context(cached(self.model))
                return functional_call(called, plain, args)

        return of_point

    @torch.no_grad()
    def write(self, x: dict[str, Tensor]) -> None:
        """Make `x` the weights of the model: bases move, coordinates become zero."""
        for name, chain in self._chains.items():
            move(chain, x[name])
        for name, parameter in self._parameters.items():
            parameter.copy_(x[name])


def _chains(model: nn.Module) -> Iterator[tuple[str, Any, Manifold]]:
    """Name, maps and manifold of each weight that is constrained by a parametrization."""
    for prefix, module in model.named_modules():
        for name, manifold in constrained(module):
            if name not in recorded(module):
                chain = module.parametrizations[name]
                yield f"{prefix}.{name}".lstrip("."), chain, manifold
