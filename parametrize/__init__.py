"""A drop-in for ``torch.nn.utils.parametrize``, without its silent errors.

Only the import changes::

    import torchmanifold.parametrize as parametrize

Set a parametrized tensor by assigning to it, ``layer.weight = value``: the value is copied, and if
the assignment fails, nothing has changed.  Writing into the computed value
(``nn.init.zeros_(layer.weight)``) has no effect on the layer, and the next read raises.  A write
through ``.data`` or a NumPy alias of the value is lost unnoticed.
"""

from torchmanifold.parametrize.cache import cached
from torchmanifold.parametrize.chain import ParametrizationList
from torchmanifold.parametrize.checkpoint import plain_state_dict
from torchmanifold.parametrize.registry import (
    is_parametrized,
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
