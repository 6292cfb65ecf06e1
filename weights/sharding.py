"""Weights that are sharded over processes."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor

__all__ = ["is_sharded", "whole", "write"]


def is_sharded(tensor: Any) -> bool:
    """Is it a DTensor?"""
    # Where there is one, its module has been imported; importing it here takes long.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Any) -> Tensor:
    """The whole of a tensor, gathered from all processes if it is sharded."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def write(tensor: Any, value: Tensor) -> None:
    """Copy a whole value into a tensor; each process keeps its share of a sharded one."""
    if is_sharded(tensor):
        distribute = sys.modules["torch.distributed.tensor"].distribute_tensor
        value = distribute(value, tensor.device_mesh, tensor.placements)
    tensor.copy_(value)
