"""A drop-in for ``torch.nn.utils.parametrize`` that is right where that is silently wrong."""

from torchmanifold.parametrize.cache import cached
from torchmanifold.parametrize.chain import ParametrizationList
from torchmanifold.parametrize.registry import (
    is_parametrized,
    plain_state_dict,
    register_parametrization,
    remove_parametrizations,
    transfer_parametrizations_and_params,
    type_before_parametrizations,
)

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "plain_state_dict",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]
