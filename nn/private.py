"""The private names of torch that this package reads, each with its meaning."""

from __future__ import annotations

import torch
from torch._compile import _disable_dynamo
from torch.autograd import forward_ad

#: ``torch.compiler.disable``, without importing the compiler, which takes a second.
not_compiled = _disable_dynamo


def forward_mode_or_transform() -> bool:
    """Whether ``forward_ad.dual_level`` or a transform of ``torch.func`` is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
