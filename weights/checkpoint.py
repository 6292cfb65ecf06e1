"""Checkpoints of unconstrained models, made fit for constrained models."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from torchmanifold.weights.checks import check_tensor
from torchmanifold.weights.points import maps_after
from torchmanifold.weights.record import constrained, recorded

__all__ = ["project_state_dict"]


@torch.no_grad()
def project_state_dict(model: nn.Module, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of a plain state dict in which each constrained weight is its nearest point.

    `load_state_dict` refuses values off the manifold; this function projects them first. It works
    for both ways of constraining a weight. A weight that further maps compute from its point is
    left as it is, because it need not lie on the manifold.

    Args:
        model: the constrained model that the state dict is meant for.
        state_dict: of the unconstrained model: the weight's own name is its key.

    Returns:
        A state dict for `model.load_state_dict`; values that are not constrained are the same
        tensors.

    Raises:
        ValueError: for a constrained weight with NaN, infinities or a wrong shape.

    Example:
        >>> import torch, torchmanifold as tm
        >>> plain = torch.nn.Linear(4, 4)
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.Stiefel())
        >>> layer.load_state_dict(tm.project_state_dict(layer, plain.state_dict()))
        <All keys matched successfully>
    """
    projected = dict(state_dict)
    for path, module in model.named_modules():
        for name, manifold in constrained(module):
            key = f"{path}.{name}" if path else name
            if key in projected and (
                name in recorded(module) or not maps_after(module.parametrizations[name])
            ):
                check_tensor(manifold, f"project_state_dict: {key!r}", projected[key])
                projected[key] = manifold.project(projected[key])
    return projected
