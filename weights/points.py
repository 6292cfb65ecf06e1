"""The point of a manifold in a list of maps: the value of its trivialization.

Other maps may come before the trivialization, if the weight had them when it was constrained, and
after it, if they were registered later.  The weight is then computed from the point.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.parametrize.checkpoint import present_value
from torchmanifold.parametrize.originals import evaluate
from torchmanifold.parametrize.undo import left_alone
from torchmanifold.weights.trivialization import Trivialization

__all__ = ["check_movable", "maps_after", "maps_before", "move", "point", "trivialization_of"]


def trivialization_of(chain: nn.Module) -> Trivialization | None:
    """The trivialization among the maps of `module.parametrizations[name]`, if there is one."""
    return next((link for link in chain.children() if isinstance(link, Trivialization)), None)


def _split(chain: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    links = [link for key, link in chain.named_children() if key.isdigit()]
    place = next(i for i, link in enumerate(links) if isinstance(link, Trivialization))
    return links[:place], links[place + 1 :]


def maps_before(chain: nn.Module) -> list[nn.Module]:
    """The maps before the trivialization: its coordinates are computed by them."""
    return _split(chain)[0]


def maps_after(chain: nn.Module) -> list[nn.Module]:
    """The maps after the trivialization: the weight is computed by them from the point."""
    return _split(chain)[1]


@torch.no_grad()
def point(chain: Any) -> Tensor:
    """The value of the trivialization in eval mode; maps with a state keep it."""
    before, after = _split(chain)
    if not after:
        return present_value(chain)
    names = ["original"] if chain.is_tensor else [f"original{i}" for i in range(chain.ntensors)]
    trivialization: Any = trivialization_of(chain)
    links = [*before, trivialization]
    with left_alone(links):
        value: Tensor = evaluate(links, [getattr(chain, name) for name in names])
        return value


def check_movable(chain: nn.Module) -> None:
    """Raise if the point cannot be set.

    Raises:
        ValueError: if there are maps before the trivialization and after it.
    """
    before, after = _split(chain)
    if before and after:
        raise ValueError(
            f"a weight is computed by {type(before[0]).__name__}, a trivialization and "
            f"{type(after[0]).__name__}, so that its point cannot be set alone; constrain it "
            f"before {type(before[0]).__name__} is registered"
        )


@torch.no_grad()
def move(chain: Any, x: Tensor) -> None:
    """Make `x` the value of the trivialization; maps after it stay as they are.

    Raises:
        ValueError: if `x` is no point; if there are maps before the trivialization and after it.
    """
    check_movable(chain)
    if not maps_after(chain):
        chain.right_inverse(x)
    else:
        trivialization: Any = trivialization_of(chain)
        chain.original.copy_(trivialization.right_inverse(x))
