"""Batches: similar weights of one group, which move together in one call."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, MutableMapping
from itertools import repeat
from operator import attrgetter, is_, is_not
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds import Manifold
from torchmanifold.optim.rule import State
from torchmanifold.weights import manifold_of
from torchmanifold.weights.record import placements_of
from torchmanifold.weights.sharding import is_sharded

__all__ = ["Batch", "Plan", "Stack", "sharded"]


def sharded() -> Any:
    """The module for sharded weights; it imports `torch.distributed.tensor`, which is slow."""
    return importlib.import_module("torchmanifold.optim.sharded")


#: copies of weights with at most this number of entries are cheaper than views
_SMALL = 1024
#: bytes of the weights that move in one call, on a processor
_CACHED = 1 << 20


class Stack:
    """The state of weights that move together: one tensor for each name.

    For each weight, the `state` of the optimizer has the rows of these tensors. It can be read,
    saved and loaded as in `torch.optim`, and no step has to gather it.

    Args:
        params: K weights of one shape, with the same names in their state.
        state: the optimizer's state.
    """

    def __init__(self, params: list[Tensor], state: MutableMapping[Tensor, Any]) -> None:
        self.params = params
        self.states: list[dict[str, Any]] = [state[p] for p in params]
        self.tensors: dict[str, Tensor] = {}
        self.rows: list[tuple[str, list[Tensor]]] = []
        self.place: Tensor | None = None
        self.places: list[Tensor] = []
        for name in list(self.states[0]):
            rows = [torch.as_tensor(s[name]).to(params[0].device) for s in self.states]
            self._adopt(name, torch.stack(rows))

    def _adopt(self, name: str, tensor: Tensor) -> None:
        rows = list(tensor.unbind(0))
        for state, row in zip(self.states, rows, strict=True):
            state[name] = row
        self.tensors[name] = tensor
        self.rows.append((name, rows))

    def is_intact(self, state: MutableMapping[Tensor, Any]) -> bool:
        """Whether the optimizer's state still holds these rows, and nothing else."""
        # With a thousand weights, Python loops would take longer than the step.
        return (
            all(map(is_, map(state.get, self.params), self.states))
            and set(map(len, self.states)) == {len(self.tensors)}
            and all(all(map(is_, map(dict.get, self.states, repeat(n)), r)) for n, r in self.rows)
        )

    def gather(self, grads: list[Tensor]) -> tuple[Tensor, Tensor, State]:
        """The weights, their gradients and their state."""
        return _stacked(self.params), _stacked(grads), dict(self.tensors)

    def spread(
        self, y: Tensor, state: State, finite: Tensor | None
    ) -> tuple[Tensor, State, Tensor | None]:
        """The arguments of `write`, from the results computed on `gather`: unchanged here."""
        return y, state, finite

    def write(self, point: Tensor, tensors: State) -> None:
        """Write new values to the weights and their state; a new name gets a tensor."""
        torch._foreach_copy_(self.params, self._split(point.to(self.params[0].dtype)))
        for name, value in tensors.items():
            if name in self.tensors:
                self.tensors[name].copy_(value)
            else:
                self._adopt(name, value.clone(memory_format=torch.contiguous_format))

    def _split(self, point: Tensor) -> list[Tensor]:
        """A tensor for each weight."""
        if point[0].numel() > _SMALL:
            return list(point.unbind(0))
        if self.place is None:
            self.place = torch.empty_like(point, memory_format=torch.contiguous_format)
            self.places = list(self.place.unbind(0))
        self.place.copy_(point)
        return self.places


def _stacked(tensors: list[Tensor]) -> Tensor:
    return torch.stack(tensors) if len(tensors) > 1 else tensors[0].unsqueeze(0)


class Batch:
    """Weights of one group, manifold, shape, dtype and device."""

    def __init__(self, manifold: Manifold, params: list[Tensor], first: int = 0) -> None:
        self.manifold = manifold
        self.params = params
        self.kind: Any = Stack
        if is_sharded(params[0]):
            self.kind = functools.partial(sharded().ShardedStack, first=first)
        self.stack: Stack | None = None

    def stacks(self, state: MutableMapping[Tensor, Any]) -> list[tuple[Stack, list[Any]]]:
        """The weights with gradients, stacked, and their gradients; new weights form own stacks."""
        grads = list(map(attrgetter("grad"), self.params))
        whole = all(map(is_not, grads, repeat(None)))
        if self.stack is not None and whole and self.stack.is_intact(state):
            return [(self.stack, grads)]
        alike: dict[frozenset[str], list[int]] = {}
        for i, p in enumerate(self.params):
            if grads[i] is not None:
                if grads[i].is_sparse:  # checked here, and not in every step
                    raise RuntimeError(
                        f"a weight of shape {tuple(p.shape)} on {self.manifold!r} has a sparse "
                        f"gradient; make the layer with sparse=False"
                    )
                alike.setdefault(frozenset(state[p]), []).append(i)
        stacks = [
            (self.kind([self.params[i] for i in which], state), [grads[i] for i in which])
            for which in alike.values()
        ]
        whole = len(stacks) == 1 and len(stacks[0][1]) == len(self.params)
        self.stack = stacks[0][0] if whole else None
        return stacks


class Plan:
    """The division of a parameter group into ordinary weights and batches on manifolds.

    Args:
        params: the weights of the group.
        manifold: the manifold on which a weight moves, None for an ordinary weight.
        choice: the options on which the manifold depends, beside the weight.
    """

    def __init__(
        self,
        params: list[Tensor],
        manifold: Callable[[Tensor], Manifold | None] = manifold_of,
        choice: object = None,
    ) -> None:
        self.params = list(params)
        self.choice = choice
        self.marks = _marks(params)
        self.manifolds = {p: manifold(p) for p in params}
        self.ordinary: list[Tensor] = []
        alike: dict[Any, list[Tensor]] = {}
        for p, where in self.manifolds.items():
            if where is None:
                self.ordinary.append(p)
            else:
                place = sharded().layout(p) if is_sharded(p) else None
                alike.setdefault((where, p.shape, p.dtype, p.device, place), []).append(p)
        parts = [(key[0], part) for key, ps in alike.items() for part in _parts(ps)]
        self.batches = [Batch(where, part, i) for i, (where, part) in enumerate(parts)]
        self.moved = [p for batch in self.batches for p in batch.params]
        #: the value of `versions` when the weights were last known to be on their manifolds
        self.written: int | None = None

    def versions(self) -> int:
        """The number of writes to the weights on manifolds, of all weights together."""
        return sum(map(attrgetter("_version"), self.moved))

    def holds(self, params: list[Tensor], choice: object = None) -> bool:
        """Whether the plan still holds: weights may have been added, moved, or constrained."""
        if choice != self.choice:
            return False
        same = len(params) == len(self.params) and all(map(is_, params, self.params))
        return same and self.marks == _marks(params)


def _marks(params: list[Tensor]) -> list[list[Any]]:
    return [
        placements_of(params),
        list(map(attrgetter("dtype"), params)),
        list(map(attrgetter("device"), params)),
    ]


def _parts(members: list[Tensor]) -> list[list[Tensor]]:
    """Similar weights in equal parts, so that temporary results fit a processor's cache."""
    size = sum(p.nbytes for p in members)
    cached = members[0].device.type == "cpu" and not is_sharded(members[0])
    count = min(-(-size // _CACHED), len(members)) if cached and size > 0 else 1
    return [
        members[i * len(members) // count : (i + 1) * len(members) // count] for i in range(count)
    ]
