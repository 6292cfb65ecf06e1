"""Weights that are sharded over processes."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor

__all__ = ["is_sharded", "whole", "write"]


def is_sharded(tensor: Any) -> bool:
    """Whether the tensor is a DTensor."""
    # If there is a DTensor, its module has been imported. Importing it here would take long.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Any) -> Tensor:
    """The whole tensor, gathered from all processes if it is sharded."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def write(tensor: Any, value: Tensor) -> None:
    """Copy a whole value into a tensor; each process keeps its share of a sharded one."""
    if is_sharded(tensor):
        distribute = sys.modules["torch.distributed.tensor"].distribute_tensor
        value = distribute(value, tensor.device_mesh, tensor.placements)
    tensor.copy_(value)
