"""The dial between parametrization and Riemannian update: rebase every so many steps."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from torchmanifold.manifolds import Trivialization, rebase_

__all__ = ["rebase_every"]

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
