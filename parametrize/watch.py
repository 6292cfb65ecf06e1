"""Notice writes to a computed tensor, which have no effect on the module that computed it."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from torchmanifold.parametrize import private
from torchmanifold.parametrize.private import version


class Watch:
    """Notices in-place writes to the last value handed out, without keeping the value alive.

    An alias of the value shares its version counter, and its empty storage holds no memory.
    Copies and pickles of a watch are empty: a copied module has handed out no value yet.
    """

    __slots__ = ("frozen", "last")

    def __init__(self) -> None:
        # One tuple, so that threads that share a module see all of it or nothing.
        self.last: tuple[Tensor, int, int] | None = None
        self.frozen: Tensor | None = None

    def __reduce__(self) -> tuple[type[Watch], tuple[()]]:
        return Watch, ()

    def set(self, value: Tensor) -> None:
        """Watch ``value`` from now on."""
        self.last = self.frozen = None
        if (
            type(value) is Tensor
            and value.layout is torch.strided
            and not value.is_inference()
            and not private.transformed()
        ):
            alias = value.detach()
            alias.data = _empty(value.dtype, value.device)
            viewed = private.viewed(value)
            self.last = alias, version(value), id(value if viewed is None else viewed)
            # An alias has its own `requires_grad`, so the value itself of frozen tensors is kept.
            # While gradients are recorded, the layers before it would keep it anyway.
            if not value.requires_grad and torch.is_grad_enabled():
                self.frozen = value

    def share(self, other: Watch) -> None:
        """Watch the value of ``other`` too: another part of the same tensor, with one counter."""
        self.last, self.frozen = other.last, other.frozen

    def clear(self) -> None:
        """Watch nothing."""
        self.last = self.frozen = None

    def untouched(self) -> bool:
        """Whether the value is as it was handed out: one call at every read."""
        last, frozen = self.last, self.frozen
        return (last is None or version(last[0]) == last[1]) and (
            frozen is None or not frozen.requires_grad
        )

    def thawed(self) -> bool:
        """Whether the ``requires_grad`` of a value without gradient was set."""
        return self.frozen is not None and self.frozen.requires_grad

    def written(self, module: nn.Module) -> bool:
        """Whether the value was written, and is not a view of a tensor of ``module``."""
        last = self.last
        if last is None or version(last[0]) == last[1]:
            return False
        return all(id(tensor) != last[2] for tensor in [*module.parameters(), *module.buffers()])


@functools.cache
def _empty(dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.empty(0, dtype=dtype, device=device)
