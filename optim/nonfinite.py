"""Steps that are not finite: detected and undone on the device."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, MutableMapping
from typing import Any

import torch
from torch import Tensor

from torchmanifold.optim.rule import extended
from torchmanifold.weights.sharding import is_sharded

__all__ = ["all_finite", "is_finite", "only_finite", "warn_of_nonfinite", "where"]


def is_finite(x: Tensor) -> Tensor:
    """A mask `(K,)` of the finite ones among K stacked weights or numbers."""
    return torch.isfinite(x).flatten(1).all(1) if x.ndim > 1 else torch.isfinite(x)


def all_finite(x: Tensor) -> Tensor:
    """Whether a tensor is finite, as a tensor; on all processes if it is sharded."""
    finite = torch.isfinite(x).all()
    return finite.full_tensor() if is_sharded(finite) else finite  # type: ignore[attr-defined]


def warn_of_nonfinite(optimizer: torch.optim.Optimizer, params: list[Tensor]) -> bool:
    """Warn if a weight is not finite.

    Only weights on the CPU are checked: on an accelerator the host would wait for the device.

    Returns:
        Whether there was a warning.
    """
    for p in params:
        if p.device.type == "cpu" and not bool(all_finite(p)):
            warnings.warn(
                f"{type(optimizer).__name__}: a weight of shape {tuple(p.shape)} is no longer "
                "finite: a step was too long, or its gradient was not finite. "
                'nonfinite="skip" leaves such steps out; a smaller learning rate avoids them.',
                RuntimeWarning,
                stacklevel=4,
            )
            return True
    return False


def _local(x: Tensor) -> Tensor:
    return x.to_local() if is_sharded(x) else x  # type: ignore[attr-defined]


def where(mask: Tensor, x: Tensor, other: Tensor | float) -> Tensor:
    """The stacked weights `x` where the mask `(K,)` is true, and `other` elsewhere."""
    return torch.where(extended(mask, x), x, other)


@contextlib.contextmanager
def only_finite(states: MutableMapping[Tensor, Any], params: list[Tensor]) -> Iterator[None]:
    """Undo, on the device, the change of weights whose gradient is not finite."""
    before = [
        (p.clone(), {k: v.clone() for k, v in states[p].items() if isinstance(v, Tensor)})
        for p in params
    ]
    yield
    for p, (old, state) in zip(params, before, strict=True):
        assert p.grad is not None
        finite = all_finite(p.grad)
        _local(p).copy_(torch.where(finite, _local(p), _local(old)))
        for name, value in states[p].items():
            # PyTorch keeps step counts on the host, which must not wait for the device.
            if name != "skipped" and isinstance(value, Tensor) and value.device == p.device:
                kept = _local(state[name]) if name in state else 0
                _local(value).copy_(torch.where(finite, _local(value), kept))
        count = states[p].get("skipped", torch.zeros((), device=p.device))
        states[p]["skipped"] = count + ~finite
