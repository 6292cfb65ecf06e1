"""Errors and warnings of an optimizer on manifolds, before it moves anything."""

from __future__ import annotations

import warnings
from collections.abc import Collection

import torch
from torch import Tensor

from torchmanifold.optim.batches import Plan
from torchmanifold.weights import manifold_of
from torchmanifold.weights.checks import check_point
from torchmanifold.weights.record import is_coordinate, placement_of
from torchmanifold.weights.sharding import whole

__all__ = ["refuse_overwritten", "refuse_replaced", "remember_written", "warn_of_no_manifold"]


def warn_of_no_manifold(owner: object, params: Collection[Tensor]) -> None:
    """Warn, once and at construction, that all weights will move as ordinary ones."""
    if not any(manifold_of(p) is not None or is_coordinate(p) for p in params):
        warnings.warn(
            f"{type(owner).__name__}: none of the {len(params)} weights is on a manifold, so all "
            f'move as under torch.optim; call constrain(..., how="riemannian") or place_ before '
            f"the optimizer is built",
            stacklevel=4,
        )


def refuse_replaced(owner: object, known: Collection[Tensor], held: Collection[Tensor]) -> None:
    """Raise if ordinary tensors have replaced weights on manifolds in the groups.

    Wrappers that train flat or full-precision copies put the copies into the groups of an
    optimizer.

    Args:
        owner: the optimizer.
        known: the weights that it was given.
        held: the weights that its groups hold now.
    """
    lost = [p for p in known if p not in held and manifold_of(p) is not None]
    new = [p for p in held if p not in known and manifold_of(p) is None]
    if lost and new:
        raise RuntimeError(
            f"{type(owner).__name__}: a weight of shape {tuple(lost[0].shape)} on "
            f"{manifold_of(lost[0])!r} is gone from the parameter groups, where a tensor of shape "
            f"{tuple(new[0].shape)} on no manifold stands now. A wrapper that moves flat or "
            f"full-precision copies cannot keep weights on manifolds: give the optimizer the "
            f"model's own weights (it keeps float32 copies of half-precision weights itself), or "
            f'constrain them with how="parametrized"'
        )


def refuse_overwritten(owner: object, plan: Plan) -> None:
    """Raise if something else has written a weight off its manifold since the last step.

    The version of a tensor, which is on the host, tells whether it was written to; only then is its
    value checked. Writes through `.data` do not change the version.
    """
    if torch.compiler.is_compiling() or plan.written == plan.versions():
        return
    for batch in plan.batches:
        if batch.params[0].is_cuda and torch.cuda.is_current_stream_capturing():
            return
        for p in batch.params:
            placement = placement_of(p)
            if placement is None:  # an ordinary weight that the optimizer moves in a batch
                break
            name = f"{type(owner).__name__}: a weight of shape {tuple(p.shape)}"
            try:
                check_point(placement.manifold, name, whole(p), placement.residual)
            except ValueError as error:
                raise RuntimeError(
                    f"{error}. It was written to after it was constrained, by reset_parameters, "
                    f"torch.nn.init or the like: initialize weights before they are constrained, "
                    f"or call model.load_state_dict(project_state_dict(model, model.state_dict()))"
                ) from None
    remember_written(plan)


def remember_written(plan: Plan) -> None:
    """Accept the present values of the weights as written by the optimizer."""
    # The versions are read, not counted, because views of one tensor share a version.
    if not torch.compiler.is_compiling():
        plan.written = plan.versions()
