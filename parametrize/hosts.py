"""Refusal of modules, tensors and maps that do not fit together, before anything changes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchmanifold.parametrize import private


def check_tensor(module: nn.Module, tensor_name: str) -> None:
    """Raise if only the module itself can keep the tensor of this name.

    Args:
        module: the module that has the tensor.
        tensor_name: the name of a parameter or a buffer.

    Raises:
        ValueError: it has no shape yet, several of its elements are the same memory, or the module
            writes it at each forward pass.
    """
    tensor = getattr(module, tensor_name)
    what = f"The tensor {tensor_name!r} of {type(module).__name__}"
    if is_lazy(tensor):
        raise ValueError(
            f"{what} is not initialized yet. Run the module once first, so that its lazy tensors "
            "get their shapes."
        )
    if _is_expanded(tensor):
        own = f"module.{tensor_name}.detach().clone()"
        own = f"nn.Parameter({own})" if isinstance(tensor, nn.Parameter) else own
        raise ValueError(
            f"{what} is an expanded view of shape {tuple(tensor.shape)}: several of its elements "
            "share memory, so they cannot be written one by one. Give it memory of "
            f"its own: module.{tensor_name} = {own}."
        )
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
        raise ValueError(
            f"{what} is rescaled in place at each forward pass, by max_norm={module.max_norm}, "
            "so nothing else can keep it. Set module.max_norm = None; to bound the "
            "rows, write the bound into the map."
        )


def check_map(module: nn.Module, link: nn.Module) -> None:
    """Raise if ``link`` holds ``module``, whose tensor it is to compute.

    Raises:
        ValueError: it does; the tree of modules would contain itself.
    """
    if any(inner is module for inner in private.walk([link])):
        holder, held = type(link).__name__, type(module).__name__
        raise ValueError(
            f"This {holder} holds the {held} whose tensor it is to compute: train(), to(), "
            f"state_dict() and repr() of the {held} would never end. Pass {holder} the "
            f"tensors or modules of {held} that it needs, or hide {held} from the tree of modules "
            "in a list: self.layer = [layer]."
        )


def _is_expanded(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and any(
        stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
