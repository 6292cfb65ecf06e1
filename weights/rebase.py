"""Moving the base of a trivialization, once or at regular intervals."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from torchmanifold.parametrize import is_parametrized
from torchmanifold.weights.checks import check_module
from torchmanifold.weights.points import maps_before, trivialization_of
from torchmanifold.weights.sharding import whole, write

__all__ = ["rebase_", "rebase_every"]


# Names of first moments in the states of optimizers: tangent vectors, in the coordinates of `v`.
_FIRST_MOMENTS = ("momentum_buffer", "exp_avg", "grad_avg", "prev")
# Names of points: they have no coordinates at another base, because the retraction has no inverse.
_POINTS = ("ax",)
# Names of states that have the shape of a weight and are not vectors.
_SIZES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta", "exp_inf", "step_size")


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

    Raises:
        ValueError: if other maps compute the coordinates of a weight, if the optimizer holds no
            coordinates of the model, or if it keeps points in its state, as ASGD keeps an average.
            Then nothing is changed.

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
    check_module("rebase_", "module", module)
    chains = _movable(module)
    if optimizer is not None:
        _check_optimizer("rebase_", chains, optimizer)
    for chain in chains:
        trivialization: Any = trivialization_of(chain)
        v, M = chain.original, trivialization.manifold
        old = trivialization.base.clone()
        # By the retraction itself: a shortcut need not correct the rounding errors of the base.
        moved = M.coordinates(old, whole(v))
        new = M.retract(old, moved)
        state = optimizer.state.get(v, {}) if optimizer is not None else {}
        for name, moment in state.items():
            if not isinstance(moment, Tensor) or moment.shape != v.shape:
                continue
            if name in _FIRST_MOMENTS:
                carried = M.carry(old, new, M.coordinates(old, whole(moment)))
                write(moment, M.inverse_coordinates(new, carried))
            # The curvature pairs of L-BFGS are approximations anyway, and are soon replaced.
            elif name not in _SIZES and not isinstance(optimizer, torch.optim.LBFGS):
                warnings.warn(
                    f"rebase_: the state {name!r} of {type(optimizer).__name__} stays as it is, in "
                    f"the coordinates of the old base; if it is a vector or a point, it is now "
                    f"wrong",
                    stacklevel=2,
                )
        trivialization.base.copy_(new)
        v.zero_()
    return module


def _movable(module: nn.Module) -> list[Any]:
    """The lists of maps in `module` that begin with a trivialization."""
    chains = []
    for path, inner in module.named_modules():
        if not is_parametrized(inner):
            continue
        for name, chain in inner.parametrizations.items():
            if trivialization_of(chain) is None:
                continue
            if before := maps_before(chain):
                first = type(before[0]).__name__
                raise ValueError(
                    f"rebase_: the coordinates of {f'{path}.{name}'.lstrip('.')!r} are computed "
                    f"by {first}, registered before the weight was constrained, so its base "
                    "cannot move without the free tensor; constrain first and register "
                    f"{first} afterwards"
                )
            chains.append(chain)
    return list(dict.fromkeys(chains))


def _check_optimizer(caller: str, chains: list[Any], optimizer: Optimizer) -> None:
    """Refuse an optimizer whose state has points, or that moves no coordinates."""
    kind = type(optimizer).__name__
    if not hasattr(optimizer, "param_groups"):
        raise TypeError(f"{caller}: optimizer must be an optimizer of PyTorch, got {optimizer!r}")
    ours = {id(parametrizations.original) for parametrizations in chains}
    held = [p for g in optimizer.param_groups for p in g["params"] if id(p) in ours]
    if not held:
        raise ValueError(
            f"{caller}: this {kind} holds none of the coordinates of the model; build it after "
            f"constrain, from the new parameters of the model"
        )
    if isinstance(optimizer, torch.optim.ASGD) or any(
        name in _POINTS for p in held for name in optimizer.state.get(p, ())
    ):
        raise ValueError(
            f"{caller}: {kind} keeps an average of coordinates, which is wrong once the base has "
            f"moved; average the weights by tm.average_, under another optimizer"
        )


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
    parametrization, and with larger `steps` a dynamic trivialization.

    Args:
        model: a module with weights constrained by `how="parametrized"`.
        optimizer: any optimizer that holds their coordinates.
        steps: the number of steps between two moves; the optimizer's state dict has the count.

    Returns:
        A handle; its `remove()` ends the rebasing.

    L-BFGS converges with `steps=1`: the base stays during one call of `step`, which makes up to
    `max_iter` iterations.

    Raises:
        ValueError: if `steps` is not a positive integer, if the model has no trivialization, if
            other maps compute the coordinates of a weight, if the optimizer is already rebased,
            holds no coordinates of the model, or keeps points in its state, as ASGD does.

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
    check_module("rebase_every", "model", model)
    chains = _movable(model)
    if not chains:
        raise ValueError(
            f"rebase_every: {type(model).__name__} has no weight constrained with "
            f'how="parametrized", so there is no base to move'
        )
    _check_optimizer("rebase_every", chains, optimizer)
    if any(isinstance(hook, _Rebase) for hook in optimizer._optimizer_step_post_hooks.values()):
        raise ValueError(
            f"rebase_every: this {type(optimizer).__name__} is rebased already; remove the first "
            f"handle, or put the models in one nn.ModuleList"
        )
    return optimizer.register_step_post_hook(_Rebase(model, steps))
