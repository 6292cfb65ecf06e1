"""The other users of a tensor or a map, so that none of them is changed unnoticed.

One weak set has the lists in use, and another the lists whose maps an assignment has moved.  They
are the global state of this package, beside the current cache and the count of optimizer steps.
Copies of a module enter their own lists.
"""

from __future__ import annotations

import functools
import gc
import sys
import warnings
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from torchmanifold.parametrize import private, steps

if TYPE_CHECKING:
    from torchmanifold.parametrize.chain import ParametrizationList

_alive: weakref.WeakSet[ParametrizationList] = weakref.WeakSet()
_moved: weakref.WeakSet[ParametrizationList] = weakref.WeakSet()


def enroll(chain: ParametrizationList) -> None:
    """Enter a list into the set of lists in use."""
    _alive.add(chain)
    steps.watch()


def installed() -> list[ParametrizationList]:
    """The lists through which some module computes a tensor."""
    return [chain for chain in list(_alive) if chain.holders]


def shares_originals(chain: ParametrizationList) -> bool:
    """Whether another module computes a tensor from the originals of ``chain``."""
    return chain.holders > 1 or any(
        mine is theirs
        for other in installed()
        if other is not chain
        for theirs in other.originals()
        for mine in chain.originals()
    )


def refuse_shared(maps: Sequence[nn.Module], originals: Sequence[Tensor]) -> None:
    """Raise if one of ``maps``, whose state has changed, computes another tensor as well.

    Args:
        maps: the maps.
        originals: the originals of the list that changed the maps; lists over the same originals
            may share the maps.

    Raises:
        ValueError: it does.
    """
    for user in installed():
        if any(mine is theirs for mine in originals for theirs in user.originals()):
            continue
        for link in user.links():
            if any(link is m for m in maps):
                raise ValueError(
                    f"This {type(link).__name__} already parametrizes another tensor "
                    f"({user.tensor_name!r}) and its state would be overwritten. Register a "
                    "parametrization of its own for each tensor."
                )


def check_ties(module: nn.Module, name: str) -> None:
    """Raise if another module, or another name, holds the tensor: it would see the original.

    Raises:
        ValueError: it does.
    """
    tensor = getattr(module, name)
    for other in installed():
        # The original of a list may itself be parametrized.
        if other is not module and any(tensor is original for original in other.originals()):
            raise ValueError(
                f"The tensor {name!r} is already the original of a parametrized tensor "
                f"({other.tensor_name!r}) of another module: tied tensors must share one value. "
                "Register the list of the other module: `register_parametrization(module, "
                f"{name!r}, other.parametrizations.{other.tensor_name})`."
            )
    own = (private.parameters(module), private.buffers(module))
    aliases = [key for group in own for key, item in group.items() if item is tensor]
    del tensor  # or it counts as one more reference
    if len(aliases) > 1 or _is_tied(module, name):
        raise ValueError(
            f"The tensor {name!r} of {type(module).__name__} is tied: another module or another "
            "name holds it too, and would use the original in place of the computed value. "
            "Untie it, register, and tie the values: `other.name = nn.Parameter(other.name."
            f"detach().clone())`, then `register_parametrization(other, 'name', module."
            f"parametrizations.{name})` after the registration here."
        )


def _references(module: nn.Module, name: str) -> int:
    return sys.getrefcount(getattr(module, name))


def _is_tied(module: nn.Module, name: str) -> bool:
    """Whether another module holds the tensor of this name."""
    # The garbage collector knows the holders, but takes tens of milliseconds: ask it only if there
    # are more references than to the tensor of a fresh module. A module that is garbage does not
    # count.
    return (
        _references(module, name) > _references(nn.LayerNorm(1), "weight")
        and _is_held(module, name)
        and gc.collect() >= 0
        and _is_held(module, name)
    )


def _is_held(module: nn.Module, name: str) -> bool:
    # The caller has already looked at the lists in use, and lists out of use compute nothing.
    known = {id(private.parameters(holder)) for holder in (module, *_alive)}
    groups = [
        group
        for group in gc.get_referrers(getattr(module, name))
        if type(group) is dict and id(group) not in known
    ]
    # The attributes of a module are in a dictionary or, from Python 3.13 on, in the module itself.
    states = [
        state if type(state) is dict else state.__dict__
        for state in (gc.get_referrers(*groups) if groups else ())
        if type(state) is dict or issubclass(type(state), nn.Module)
    ]
    return any(state.get(private.GROUPS[0]) is group for state in states for group in groups)


def replace(old: Sequence[Tensor], new: Sequence[Tensor]) -> None:
    """Remember that modules now use ``new`` in place of ``old``, for optimizers that hold those."""
    for tensor in old:
        tensor._replaced_by = [weakref.ref(other) for other in new]  # type: ignore[attr-defined]
    _watch_optimizers()


@functools.cache
def _watch_optimizers() -> None:
    register_optimizer_step_pre_hook(_refuse_replaced)


def _refuse_replaced(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    held = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    known = {id(tensor) for tensor in held}
    for tensor in held:
        for reference in getattr(tensor, "_replaced_by", ()):
            new = reference()
            if new is not None and new.requires_grad and id(new) not in known:
                raise RuntimeError(
                    f"{type(optimizer).__name__} holds a tensor of shape {tuple(tensor.shape)} "
                    "that a parametrization with several originals, or its removal, has replaced "
                    f"by one of shape {tuple(new.shape)}, which it would never move. Add the new "
                    "tensors with `optimizer.add_param_group`, or build the optimizer afterwards."
                )


def moved(chain: ParametrizationList) -> None:
    """Remember that the maps of ``chain`` changed, so that its originals have another meaning."""
    chain.maps_moved = True  # for its copies
    _moved.add(chain)
    _watch_moments()


@functools.cache
def _watch_moments() -> None:
    register_optimizer_step_pre_hook(_warn_of_moments)


def _warn_of_moments(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    if torch.compiler.is_dynamo_compiling() or not _moved:
        return
    known = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
    for chain in list(_moved):
        held = [tensor for tensor in chain.originals() if id(tensor) in known]
        if not held:
            continue
        _moved.discard(chain)
        chain.maps_moved = False
        moments = [
            value
            for tensor in held
            for value in optimizer.state.get(tensor, {}).values()
            if isinstance(value, Tensor) and value.shape == tensor.shape
        ]
        if any(bool(moment.any()) for moment in moments):
            warnings.warn(
                f"{type(optimizer).__name__} still has moments from before the assignment to "
                f"{chain.tensor_name!r}, which moved its map: they would move the new "
                "value. Drop them when you assign: `optimizer.state.pop(module."
                f"parametrizations.{chain.tensor_name}.{chain.original_names()[0]}, None)`.",
                stacklevel=3,
            )
