"""Sharded weights on manifolds: each process gathers the whole matrices that it moves.

Under `fully_shard` each process holds some rows of every weight, but a retraction needs whole
matrices. Each process owns about K / processes of K similar weights. In one exchange it gets the
missing rows of the weights that it owns. It then moves them as a single process would, and sends
the rows back in another exchange. So no process holds more whole weights than its share, and no
weight is moved twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, MutableMapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

__all__ = ["ShardedStack", "layout"]


def layout(p: Tensor) -> tuple[Any, ...]:
    """The mesh and the placements, which sharded weights that move together share.

    Raises:
        NotImplementedError: for weights that are sharded along two dimensions of the mesh.
    """
    assert isinstance(p, DTensor)
    shards = [placement for placement in p.placements if not placement.is_replicate()]
    if len(shards) > 1 or not all(type(placement) is Shard for placement in shards):
        raise NotImplementedError(
            f"a weight of shape {tuple(p.shape)} on a manifold has the placements "
            f"{p.placements}; it can be sharded along one dimension of the mesh only, as "
            f"fully_shard alone does it"
        )
    return p.device_mesh, p.placements


class ShardedStack:
    """The state of sharded weights that move together.

    State with the shape of a weight is sharded as the weight is. Numbers (step counts, second
    moments of a matrix) are the same on every process. So state dicts look like those of
    `torch.optim`.

    Args:
        params: K weights of one shape and layout, with the same names in their state.
        state: the optimizer's state.
        first: the process that owns the first of them; so single weights have different owners.
    """

    def __init__(
        self, params: list[Any], state: MutableMapping[Tensor, Any], first: int = 0
    ) -> None:
        self.weights = params  # DTensors
        self.params: list[Tensor] = [p.to_local() for p in self.weights]
        self.states: list[dict[str, Any]] = [state[p] for p in params]
        self.shape: tuple[int, ...] = tuple(params[0].shape)
        self.dim, self.group, world, self.rank = 0, None, 1, 0
        for i, placement in enumerate(self.weights[0].placements):
            if isinstance(placement, Shard):
                self.dim = placement.dim
                self.group = self.weights[0].device_mesh.get_group(i)
                world, self.rank = dist.get_world_size(self.group), dist.get_rank(self.group)
        # Rows are divided as by `torch.chunk`, and weights as evenly as possible.
        n, k = self.shape[self.dim], len(params)
        chunk = -(-n // world)
        self.rows = [max(0, min(chunk, n - r * chunk)) for r in range(world)]
        turned = [(r - first) % world for r in range(world)]
        self.owned = [slice(-(-t * k // world), -(-(t + 1) * k // world)) for t in turned]
        self.order = [turned.index(t) for t in range(world)]
        self.rest = [size for d, size in enumerate(self.shape) if d != self.dim]

    def is_intact(self, state: MutableMapping[Tensor, Any]) -> bool:
        """Whether it can serve in another step; it cannot, because it reads the state only once."""
        return False

    def _exchange(self, parts: list[Tensor], sizes: list[int]) -> list[Tensor]:
        """Send a flat tensor to each process, and get one of the given size from each."""
        if self.group is None:
            return parts
        sent = torch.cat(parts)
        got = sent.new_empty(sum(sizes))
        dist.all_to_all_single(got, sent, sizes, [part.numel() for part in parts], self.group)
        return list(got.split(sizes))

    def gather(self, grads: list[Any]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The weights that this process owns, whole, with their gradients and state."""
        own = self.owned[self.rank]
        placements = self.weights[0].placements
        grads = [g.redistribute(placements=placements).to_local() for g in grads]
        rows, numbers = {"x": torch.stack(self.params), "egrad": torch.stack(grads)}, {}
        for name in list(self.states[0]):
            values = [s[name] for s in self.states]
            if isinstance(values[0], DTensor):
                rows[name] = torch.stack([value.to_local() for value in values])
            else:
                numbers[name] = torch.stack(values)[own].to(self.params[0].device)
        sent = self._together(rows.values())
        shape = (own.stop - own.start, len(rows), *self.rest)
        got = self._exchange(
            [sent[:, theirs].flatten() for theirs in self.owned],
            [count * math.prod(shape) for count in self.rows],
        )
        # Rows are the first dimension of each part, so the parts in order form the whole.
        whole = torch.cat(got).reshape(sum(self.rows), *shape).movedim(0, self.dim + 2)
        state = _apart(whole.unbind(1), rows)
        return state.pop("x"), state.pop("egrad"), {**state, **numbers}

    def spread(
        self, y: Tensor, state: dict[str, Tensor], finite: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """The rows of this process, and the numbers of all weights, from the owners' results."""
        values = {"y": y, **state} if finite is None else {"y": y, **state, "finite": finite}
        rows = {name: v for name, v in values.items() if tuple(v.shape[1:]) == self.shape}
        numbers = {name: value for name, value in values.items() if name not in rows}
        counts = [owned.stop - owned.start for owned in self.owned]
        width = len(rows) * self.rows[self.rank] * math.prod(self.rest)
        got = self._exchange(
            [part.flatten() for part in self._together(rows.values()).split(self.rows)],
            [count * width for count in counts],
        )
        parts = [
            part.reshape(self.rows[self.rank], count, len(rows), *self.rest)
            for part, count in zip(got, counts, strict=True)
        ]
        whole = torch.cat([parts[r] for r in self.order], 1)
        out = _apart(whole.movedim(0, self.dim + 2).unbind(1), rows)
        if numbers:
            flat = [
                value.flatten(1) if value.ndim > 1 else value[:, None] for value in numbers.values()
            ]
            widths = [value.shape[1] for value in flat]
            kind = functools.reduce(torch.promote_types, [v.dtype for v in flat], torch.float32)
            sent = torch.cat([value.to(kind) for value in flat], 1).flatten()
            got = self._exchange([sent] * len(counts), [count * sum(widths) for count in counts])
            columns = (
                torch.cat([got[r] for r in self.order])
                .reshape(len(self.weights), sum(widths))
                .split(widths, 1)
            )
            for (name, value), column in zip(numbers.items(), columns, strict=True):
                out[name] = column.reshape(len(column), *value.shape[1:]).to(value.dtype)
        self.kept = frozenset(rows)
        return out.pop("y"), out, out.pop("finite", None)

    def _together(self, tensors: Iterable[Tensor]) -> Tensor:
        """Stacked weights, gradients and state as one tensor `(rows, K, kinds, ...)`."""
        tensors = list(tensors)
        kind = functools.reduce(torch.promote_types, [t.dtype for t in tensors])
        return torch.stack([t.to(kind) for t in tensors], 1).movedim(self.dim + 2, 0)

    def write(self, point: Tensor, state: dict[str, Tensor]) -> None:
        """Write the rows of this process of the new points and of the new state."""
        torch._foreach_copy_(self.params, list(point.to(self.params[0].dtype).unbind(0)))
        for name, value in state.items():
            for p, own, row in zip(self.weights, self.states, value.unbind(0), strict=True):
                own[name] = row.clone()
                if name in self.kept:
                    own[name] = DTensor.from_local(
                        own[name], p.device_mesh, p.placements, shape=p.shape, stride=p.stride()
                    )


def _apart(tensors: Iterable[Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by name, each in the dtype of the tensor of that name in `like`."""
    return {
        name: (t if other.is_complex() or not t.is_complex() else t.real).to(other.dtype)
        for t, (name, other) in zip(tensors, like.items(), strict=True)
    }
