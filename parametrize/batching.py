"""Equal parametrizations of a model, evaluated in one call.

A parametrization takes part if it has ``batched = True`` and a hashable ``config``.  The first
promises that ``forward`` accepts leading dimensions in its arguments and in all its parameters and
buffers, and writes none of them.  The second, with the type, determines everything else about the
map.  Parametrizations with equal types, configs, training modes, shapes, dtypes and devices are
evaluated by one call of a twin of the first module.  The twin holds the parameters and buffers of
all modules, stacked along a new first dimension, and the originals are stacked in the same way.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.parametrize import private
from torchmanifold.parametrize.chain import ParametrizationList

_PLAIN = (Tensor, nn.Parameter)

Families = dict[int, list[ParametrizationList]]


def families(modules: Iterable[nn.Module]) -> Families:
    """For each list in ``modules`` that can take part, by id: all lists of the same maps."""
    by_kind: dict[Hashable, list[ParametrizationList]] = {}
    found: Families = {}
    for module in private.walk(modules):
        if isinstance(module, ParametrizationList):
            kinds = _kinds(module.links())
            if kinds is not None:
                family = found[id(module)] = by_kind.setdefault(kinds, [])
                family.append(module)
    return found


def equals(
    chain: ParametrizationList, family: Sequence[ParametrizationList]
) -> list[ParametrizationList]:
    """``chain``, and the lists of its family that can be evaluated in one call with it."""
    if len(family) > 1 and (signature := _signature(chain)) is not None:
        return [
            chain,
            *(peer for peer in family if peer is not chain and _signature(peer) == signature),
        ]
    return [chain]


def evaluate(chains: Sequence[ParametrizationList]) -> Tensor:
    """The values of equal lists, stacked along the first dimension."""
    arguments = [torch.stack(same) for same in zip(*(c.originals() for c in chains), strict=True)]
    for links in zip(*(chain.links() for chain in chains), strict=True):
        arguments = [_stacked_twin(links)(*arguments)]
    return arguments[0]


def _kinds(links: list[Any]) -> Hashable:
    """Types and configs of the maps of a list; None if a map cannot serve several lists at once."""
    kinds = []
    for link in links:
        if not getattr(link, "batched", False):
            return None
        try:
            kinds.append((type(link), link.config))
        except AttributeError:
            return None
    return tuple(kinds)


def _signature(chain: ParametrizationList) -> list[object] | None:
    """A key, equal for lists that can be evaluated in one call; None if this list cannot."""
    links = chain.links()
    if (kinds := _kinds(links)) is None:
        return None
    signature: list[object] = [kinds]
    tensors = chain.originals()
    for link in links:
        signature.append(link.training)
        tensors += private.tensors(link)
    for t in tensors:
        if type(t) not in _PLAIN or t.is_inference():
            return None
        signature += t.shape, t.dtype, t.device, t.requires_grad
    return signature


def _stacked_twin(modules: tuple[Any, ...]) -> nn.Module:
    """A shallow copy of the first module that holds the tensors of all, stacked."""

    def stack(groups: list[dict[str, Any]]) -> dict[str, Tensor | None]:
        return {
            name: None if tensor is None else torch.stack([group[name] for group in groups])
            for name, tensor in groups[0].items()
        }

    children = [private.children(module) for module in modules]
    twin = object.__new__(type(modules[0]))
    twin.__dict__.update(
        modules[0].__dict__,
        _parameters=stack([private.parameters(module) for module in modules]),
        _buffers=stack([private.buffers(module) for module in modules]),
        _modules={
            name: child and _stacked_twin(tuple(group[name] for group in children))
            for name, child in children[0].items()
        },
    )
    return twin
