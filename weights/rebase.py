"""Moving the base of a trivialization, once or every so many steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from torchmanifold.parametrize import ParametrizationList
from torchmanifold.weights.sharding import whole, write
from torchmanifold.weights.trivialization import Trivialization, in_full_precision

__all__ = ["rebase_", "rebase_every"]


# What optimizers keep of first moments: tangent vectors, in the coordinates of `v`.
_FIRST_MOMENTS = ("momentum_buffer", "exp_avg", "grad_avg")


@torch.no_grad()
def rebase_(module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> nn.Module:
    r"""Move the base of every trivialization in `module` to the current value of its weight.

    The weights keep their values and their coordinates become zero. Given the optimizer that
    moves the coordinates, first moments are carried along: `m <- B_y^-1 C B_x m`, with `x` and
    `y` the old and the new base and `C` the manifold's `carry` from `x` to `y`. Second moments
    and step counts stay.

    Args:
        module: a module, searched with its children; changed in place and returned.
        optimizer: an optimizer that holds the coordinates, if its state is to be carried.

    Source: Lezcano-Casado 2019, algorithm 1 (dynamic trivializations).

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        >>> layer(torch.ones(2, 4)).sum().backward(); optimizer.step()
        >>> _ = tm.rebase_(layer, optimizer)
        >>> bool((layer.parametrizations.weight.original == 0).all())
        True
    """
    for parametrizations in module.modules():
        if not isinstance(parametrizations, ParametrizationList):
            continue
        trivialization = parametrizations[0]
        if not isinstance(trivialization, Trivialization):
            continue
        v, M = parametrizations.original, trivialization.manifold
        old = trivialization.base.clone()
        # By the retraction itself: what is shorter need not mend the rounding of the base.
        moved = in_full_precision(M.coordinates, old, whole(v))
        new = in_full_precision(M.retract, old, moved)
        state = optimizer.state.get(v, {}) if optimizer is not None else {}
        for name in _FIRST_MOMENTS:
            moment = state.get(name)
            if isinstance(moment, Tensor) and moment.shape == v.shape:
                carried = M.carry(old, new, M.coordinates(old, whole(moment)))
                write(moment, M.inverse_coordinates(new, carried))
        trivialization.base.copy_(new)
        v.zero_()
    return module


_COUNT = "steps_since_rebase"


class _Rebase:
    """The hook. Its count lives in the optimizer's first group, so that checkpoints have it."""

    def __init__(self, model: nn.Module, steps: int) -> None:
        self.model = model
        self.steps = steps

    def __call__(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        group = optimizer.param_groups[0]
        group[_COUNT] = (group.get(_COUNT, 0) + 1) % self.steps
        if group[_COUNT] == 0:
            rebase_(self.model, optimizer)


def rebase_every(model: nn.Module, optimizer: Optimizer, steps: int = 100) -> RemovableHandle:
    """Move the bases of a model's trivializations to the present weights every `steps` steps.

    With `steps=1`, SGD on the coordinates is Riemannian SGD in the manifold's metric, also with
    momentum, which is carried to each new tangent space. Without rebasing it is the classical
    parametrization; between the two, a dynamic trivialization.

    Args:
        model: a module with weights constrained by `how="parametrized"`.
        optimizer: any optimizer that holds their coordinates.
        steps: how many steps from one rebasing to the next; the count is saved in the optimizer's
            state dict.

    Returns:
        A handle; its `remove()` ends the rebasing.

    Raises:
        ValueError: if `steps` is no positive integer, if the model has no trivialization, or if
            the optimizer is already rebased.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        >>> handle = tm.optim.rebase_every(layer, optimizer, steps=10)

    Source: Lezcano-Casado, Trivializations for gradient-based optimization on manifolds,
    NeurIPS 2019, algorithm 1.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"rebase_every: steps must be a positive integer, got {steps!r}")
    if not any(isinstance(module, Trivialization) for module in model.modules()):
        raise ValueError(
            f"rebase_every: {type(model).__name__} has no weight constrained with "
            f'how="parametrized", so there is no base to move'
        )
    if any(isinstance(hook, _Rebase) for hook in optimizer._optimizer_step_post_hooks.values()):
        raise ValueError(
            f"rebase_every: this {type(optimizer).__name__} is rebased already; remove the first "
            f"handle, or put the models in one nn.ModuleList"
        )
    return optimizer.register_step_post_hook(_Rebase(model, steps))
