"""The point of a manifold in a list of maps: the value of its trivialization.

Other maps come before the trivialization if the weight had them when it was constrained, and after
it if they were registered later.  The maps after it compute the weight from the point.
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
    """The maps before the trivialization, which compute its coordinates."""
    return _split(chain)[0]


def maps_after(chain: nn.Module) -> list[nn.Module]:
    """The maps after the trivialization, which compute the weight from the point."""
    return _split(chain)[1]


@torch.no_grad()
def point(chain: Any) -> Tensor:
    """The value of the trivialization in eval mode; maps with a state keep their state."""
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
        ValueError: if there are maps both before and after the trivialization.
    """
    before, after = _split(chain)
    if before and after:
        raise ValueError(
            f"a weight is computed by {type(before[0]).__name__}, a trivialization and "
            f"{type(after[0]).__name__}, so its point cannot be set alone; constrain the weight "
            f"before you register {type(before[0]).__name__}"
        )


@torch.no_grad()
def move(chain: Any, x: Tensor) -> None:
    """Make `x` the value of the trivialization; maps after it stay as they are.

    Raises:
        ValueError: if `x` is not a point, or if there are maps both before and after the
            trivialization.
    """
    check_movable(chain)
    if not maps_after(chain):
        chain.right_inverse(x)
    else:
        trivialization: Any = trivialization_of(chain)
        chain.original.copy_(trivialization.right_inverse(x))
