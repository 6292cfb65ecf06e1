"""bake: the model with plain weights, for tools that know no parametrizations."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize as torch_parametrize

from torchmanifold.parametrize import ParametrizationList, is_parametrized, remove_parametrizations
from torchmanifold.weights.record import recorded, strike

__all__ = ["bake"]

Model = TypeVar("Model", bound=nn.Module)


@torch.no_grad()
def bake(model: Model) -> Model:
    """A copy of the model whose weights are plain parameters with their present values.

    All parametrizations, also those of `torch.nn.utils.parametrize`, are evaluated once, as in
    `eval()`, and removed. No weight of the copy is on a manifold. The copy computes the same
    outputs, and suits ONNX, TorchScript, quantization, pruning and other frameworks. The model
    itself stays as it is and can be trained further.

    Args:
        model: any module.

    Returns:
        The copy, in the training mode of the model.

    Raises:
        TypeError: if `model` is not a module.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
        >>> baked, x = tm.bake(layer), torch.randn(2, 4)
        >>> type(baked).__name__, bool((baked(x) - layer(x)).abs().max() < 1e-6)
        ('Linear', True)
        >>> program = torch.export.export(baked, (x,))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"bake: model must be an nn.Module, got {type(model).__name__}")
    twin = copy.deepcopy(model)
    modes = [(module, module.training) for module in twin.modules()]
    twin.eval()
    for module in list(twin.modules()):  # a list: the tree loses modules on the way
        for name in list(recorded(module)):
            strike(module, name)
        if not is_parametrized(module):
            continue
        lists = dict(module.parametrizations.named_children())  # type: ignore[union-attr]
        ours = all(isinstance(maps, ParametrizationList) for maps in lists.values())
        if not ours:
            # A copy shares its class with the model, and PyTorch takes the property off the class.
            kind = type(module)
            module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
        for name in lists:
            remove = remove_parametrizations if ours else torch_parametrize.remove_parametrizations
            remove(module, name, leave_parametrized=True)
    for module, training in modes:
        module.training = training
    return twin
