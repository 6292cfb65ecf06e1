"""Undo the changes that a failed call, or an evaluation, made to maps and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.parametrize import private
from torchmanifold.parametrize.private import groups


def overwrite(tensor: Tensor, value: Tensor) -> None:
    """Give ``tensor`` the value, in place, and never the memory of ``value``."""
    with torch.no_grad():
        if not same_kind(tensor, value):
            value = value.detach().clone()
            if isinstance(tensor, nn.Parameter):
                value = nn.Parameter(value, tensor.requires_grad)
            torch.utils.swap_tensors(tensor, value)
        elif tensor.shape == value.shape and tensor.dtype == value.dtype:
            tensor.copy_(value)
        else:
            tensor.data = value.detach().clone()


def same_kind(a: Tensor, b: Tensor) -> bool:
    """Whether the tensors are of one class, such as a quantized one, or both of none."""
    return (type(a) is type(b)) or {type(a), type(b)} == {Tensor, nn.Parameter}


class State:
    """The attributes, submodules and tensors of some modules, to be restored."""

    def __init__(self, modules: Iterable[nn.Module], tensors: Iterable[Tensor] = ()) -> None:
        self.modules = [
            (module, dict(module.__dict__), [dict(group) for group in groups(module)])
            for root in modules
            for module in root.modules()
        ]
        own = [t for m, _, _ in self.modules for group in groups(m)[:2] for t in group.values()]
        self.own = [(tensor, _version(tensor)) for tensor in own if tensor is not None]
        self.tensors = [
            (tensor, _version(tensor), type(tensor), tensor.detach().clone())
            for tensor in (*own, *tensors)
            if tensor is not None
        ]

    def changed(self) -> bool:
        """Whether a tensor of the modules was written or replaced."""
        return any(
            any(group.get(name) is not tensor for name, tensor in before.items())
            for module, _, names in self.modules
            for group, before in zip(groups(module)[:2], names[:2], strict=True)
        ) or any(_version(tensor) != version for tensor, version in self.own)

    def restore(self) -> None:
        """Put everything back; a tensor that was not written keeps its version counter."""
        for module, attributes, before in self.modules:
            _put_back(module.__dict__, attributes)
            for group, names in zip(groups(module), before, strict=True):
                _put_back(group, names)
        for tensor, version, kind, value in self.tensors:
            if version is None or private.version(tensor) != version or type(tensor) is not kind:
                overwrite(tensor, value)


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    # Unchanged attributes are not touched, so another thread never finds one missing.
    if list(now) != list(before) or any(now[name] is not item for name, item in before.items()):
        now.clear()
        now.update(before)


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else private.version(tensor)


@contextmanager
def all_or_nothing(modules: Iterable[nn.Module], tensors: Iterable[Tensor] = ()) -> Iterator[State]:
    """Undo the changes of the block to ``modules`` and ``tensors`` if it raises.

    Yields:
        The state before the block.
    """
    before = State(modules, tensors)
    try:
        yield before
    except BaseException:
        before.restore()
        raise


@contextmanager
def left_alone(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put ``modules`` into eval mode within the block, and restore them after it."""
    roots = list(modules)
    before = State(roots)
    training = [module for root in roots for module in root.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
        before.restore()
