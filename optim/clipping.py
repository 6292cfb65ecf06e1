"""Clipping by the norm of Riemannian gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from torchmanifold.optim.batches import Plan
from torchmanifold.optim.groups import collect
from torchmanifold.weights.record import stamp_sharded
from torchmanifold.weights.sharding import is_sharded, whole

__all__ = ["clip_grad_norm_"]


@torch.no_grad()
def clip_grad_norm_(
    parameters: nn.Module | Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    r"""Scale gradients so that their total norm, with weights on manifolds, is at most `max_norm`.

    `torch.nn.utils.clip_grad_norm_` measures Euclidean gradients. The part of a gradient that is
    normal to a manifold moves nothing, but counts there. It can be large, as with a loss that
    depends on the scale of a weight whose scale is fixed, and then the steps of all weights become
    short. Here a weight on a manifold counts by its Riemannian gradient, in the metric of the
    manifold. The coordinates of a parametrized weight have no normal part, and count as ordinary
    weights.

    Args:
        parameters: a model, a tensor, or tensors; tensors without a gradient are left out.
        max_norm: the largest total norm after clipping.
        norm_type: the order of the norm. Orders other than 2 measure the entries of Riemannian
            gradients, not their lengths in the metric.
        error_if_nonfinite: raise if the total norm is NaN or infinite.
        foreach: use PyTorch's multi-tensor functions.

    Returns:
        The total norm before clipping.

    Raises:
        RuntimeError: with `error_if_nonfinite`; then no gradient is changed.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
        >>> (layer(torch.ones(2, 4)).sum() + 100 * layer.weight.square().sum()).backward()
        >>> bool(tm.optim.clip_grad_norm_(layer, 1.0) < 20)
        True
        >>> layer.zero_grad()
        >>> (layer(torch.ones(2, 4)).sum() + 100 * layer.weight.square().sum()).backward()
        >>> bool(torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0) > 300)
        True
    """
    if isinstance(parameters, nn.Module):
        parameters = collect(parameters)
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    params = [p for p in parameters if p.grad is not None]
    stamp_sharded([p for p in params if is_sharded(p)])
    plan = Plan(params)
    ordinary = [p.grad for p in plan.ordinary if p.grad is not None]
    parts = [get_total_norm(ordinary, norm_type, foreach=foreach)]
    for batch in plan.batches:
        x = torch.stack([whole(p) for p in batch.params])
        g = batch.manifold.gradient(x, torch.stack([whole(p.grad) for p in batch.params]))
        lengths = batch.manifold.norm(x, g) if norm_type == 2 else g
        parts.append(torch.linalg.vector_norm(lengths, norm_type))
    total = get_total_norm([whole(part) for part in parts], norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(params, max_norm, total, foreach)
    return total
