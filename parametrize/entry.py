"""A cached value, and everything from which it was computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.parametrize import private
from torchmanifold.parametrize.chain import ParametrizationList
from torchmanifold.parametrize.private import version

_Names = dict[str, Any]


class Graph:
    """Remembers whether a backward pass went through a graph, which several values may share."""

    __slots__ = ("spent",)

    def __init__(self, value: Tensor) -> None:
        self.spent = False
        # The hook must not hold the value: a cycle through C++ is never collected.
        if value.grad_fn is not None:
            value.grad_fn.register_prehook(self.spend)

    def spend(self, _gradients: tuple[Tensor, ...]) -> None:
        """Note that the pass went through."""
        self.spent = True


class Entry:
    """A value, and all tensors, submodules, flags and attributes that it depends on."""

    __slots__ = ("chain", "graph", "requires_grad", "sizes", "slots", "tensors", "value", "version")

    def __init__(self, chain: ParametrizationList, value: Tensor, graph: Graph) -> None:
        self.chain = chain
        self.value = value
        self.version = None if value.is_inference() else version(value)
        self.requires_grad = value.requires_grad
        self.graph = graph
        self.sizes: list[tuple[_Names, _Names, _Names, _Names, int]] = []
        self.slots: list[tuple[_Names, str, Any]] = []
        self.tensors: list[tuple[Tensor, int, bool, torch.dtype]] = []
        # The other attributes of a list do not affect its value.
        self.slots.append((chain.__dict__, "changes", chain.changes))
        for module in private.walk([chain]):
            if module is not chain:
                self._watch_attributes(module)
            self._watch_groups(module)

    def _watch_attributes(self, module: nn.Module) -> None:
        for name, item in module.__dict__.items():
            if name not in private.MODULE_ATTRIBUTES:
                self.slots.append((module.__dict__, name, item))
                if isinstance(item, Tensor):
                    self._watch_tensor(item)

    def _watch_groups(self, module: nn.Module) -> None:
        state, (parameters, buffers, children) = module.__dict__, private.groups(module)
        size = len(state) + len(parameters) + len(buffers) + len(children)
        self.sizes.append((state, parameters, buffers, children, size))
        for group in (parameters, buffers):
            for name, tensor in group.items():
                self.slots.append((group, name, tensor))
                if tensor is not None:
                    self._watch_tensor(tensor)
        for name, child in children.items():
            self.slots.append((children, name, child))

    def _watch_tensor(self, tensor: Tensor) -> None:
        # An inference tensor has no version counter: a value that depends on one is not reused.
        if tensor.is_inference():
            self.graph.spent = True
        else:
            self.tensors.append((tensor, version(tensor), tensor.requires_grad, tensor.dtype))

    def fresh(self) -> bool:
        """Whether a new evaluation would give the same tensor.

        Raises:
            RuntimeError: the value was written in place, or its ``requires_grad`` was set, without
                effect on the module.
        """
        if self.graph.spent:
            return False
        # This runs at every read. The comparison of slots notices a removal, so the lengths of the
        # groups of a module can only have grown, and comparing their sum is enough.
        for state, parameters, buffers, children, size in self.sizes:
            if len(state) + len(parameters) + len(buffers) + len(children) != size:
                return False
        try:
            for group, name, item in self.slots:
                if group[name] is not item:
                    return False
        except KeyError:
            return False
        for tensor, count, requires_grad, dtype in self.tensors:
            if (
                version(tensor) != count
                or tensor.requires_grad is not requires_grad
                or tensor.dtype is not dtype
            ):
                return False
        # After the inputs: a value that is a view of its original shares the version counter.
        if self.version is not None and version(self.value) != self.version:
            self.graph.spent = True
            self.chain.report_write()
        if self.value.requires_grad is not self.requires_grad:
            self.graph.spent = True
            self.chain.report_thaw()
        return True
