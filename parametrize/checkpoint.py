"""State dicts with values in place of coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.parametrize.chain import ParametrizationList, chains
from torchmanifold.parametrize.undo import left_alone


def plain_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of ``model`` with the values of parametrized tensors under their own names.

    It loads into the model without parametrizations, and into the model with them.

    Example:
        >>> import torch, torchmanifold.parametrize as parametrize
        >>> layer = torch.nn.Linear(2, 2)
        >>> layer = parametrize.register_parametrization(layer, "weight", torch.nn.Softplus())
        >>> sorted(parametrize.plain_state_dict(layer))
        ['bias', 'weight']
    """
    state = dict(model.state_dict())
    for path, module in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for name, chain in chains(module).items():
            own = f"{prefix}parametrizations.{name}."
            for key in [key for key in state if key.startswith(own)]:
                del state[key]
            state[prefix + name] = present_value(chain).contiguous()
    return state


def present_value(chain: nn.Module) -> Tensor:
    """The value of a parametrized tensor in eval mode, without a graph.

    The evaluation changes nothing: a map that changes when it is evaluated, such as the power
    iteration of a spectral norm, is restored.

    Args:
        chain: ``module.parametrizations[tensor_name]``, of this package or of torch.
    """
    with torch.no_grad(), left_alone(chain.children()):
        value: Tensor = chain()
        return value.detach()


def assign_plain_tensors(
    chains: Mapping[str, nn.Module], state_dict: Any, prefix: str, error_msgs: list[str]
) -> None:
    """Assign the tensors of a plain state dict, and replace them in it by their coordinates."""
    for name, chain in chains.items():
        own = f"{prefix}parametrizations.{name}."
        if not isinstance(chain, ParametrizationList):
            continue  # registered by torch's own layer
        if prefix + name not in state_dict or any(key.startswith(own) for key in state_dict):
            continue
        value = state_dict.pop(prefix + name)
        like = chain.originals()[0]
        try:
            if like.is_meta:
                raise ValueError("the model is on the meta device; call `to_empty` first")
            chain.right_inverse(value.to(like.device, like.dtype))
        except Exception as error:
            error_msgs.append(f"While assigning {prefix + name!r}: {error}")
        state_dict.update(chain.state_dict(prefix=own))
