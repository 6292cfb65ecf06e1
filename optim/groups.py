"""Parameter groups: the weights of a model on manifolds, and its ordinary weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from torchmanifold.weights import manifold_of, stamp

__all__ = ["as_groups", "collect", "param_groups"]


def param_groups(
    model: nn.Module,
    lr: float | Tensor | None = None,
    manifold_lr: float | Tensor | None = None,
) -> list[dict[str, Any]]:
    """Two parameter groups: ordinary weights, and weights that are constrained to a manifold.

    The coordinates of a parametrized weight are in the second group, so a script reads the same for
    both ways of constraining a weight.

    Args:
        model: the module; each of its parameters is taken once.
        lr: learning rate of the ordinary weights; by default the optimizer's own.
        manifold_lr: learning rate of the constrained weights; by default `lr`.

    Returns:
        Groups for any optimizer, ordinary weights first; an empty group is left out.

    Raises:
        TypeError: if `model` is not a module.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
        >>> groups = tm.optim.param_groups(layer, lr=0.1, manifold_lr=0.5)
        >>> [(g["lr"], len(g["params"])) for g in groups]
        [(0.1, 1), (0.5, 1)]
    """
    parameters = collect(model)
    on_manifold = {p for p in parameters if manifold_of(p) is not None}
    for module in model.modules():
        for name, parametrization in _parametrizations(module):
            if manifold_of(module, name) is not None:
                on_manifold.update(parametrization.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p not in on_manifold]},
        {"params": [p for p in parameters if p in on_manifold]},
    ]
    for group, rate in zip(groups, (lr, lr if manifold_lr is None else manifold_lr), strict=True):
        if rate is not None:
            group["lr"] = rate
    return [group for group in groups if group["params"]]


def _parametrizations(module: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    children = module._modules.get("parametrizations")
    return children.named_children() if isinstance(children, nn.ModuleDict) else ()


def as_groups(owner: object, params: Any) -> Any:
    """Groups of a model, and parameters or groups of them as they are."""
    if isinstance(params, nn.Module):
        return [{"params": params}]
    if not isinstance(params, Iterable):
        raise TypeError(
            f"{type(owner).__name__}: params must be a model, its parameters, or groups of them, "
            f"got {params!r}"
        )
    if isinstance(params, Tensor):
        return params  # PyTorch says that it is no list of parameters
    params = list(params)
    if not params:
        raise ValueError(
            f"{type(owner).__name__}: params is empty; pass a model, or a list of its parameters"
        )
    return params


def collect(model: nn.Module) -> list[Tensor]:
    """All parameters of a model, stamped with the manifolds that its modules record."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"param_groups: model must be an nn.Module, got {type(model).__name__}")
    stamp(model)
    return list(model.parameters())
