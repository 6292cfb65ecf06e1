"""Putting a parameter that no module owns on a manifold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds import Manifold, Product, require_manifold
from torchmanifold.weights.checks import check_tensor, nearest
from torchmanifold.weights.record import Placement, manifold_of, place
from torchmanifold.weights.sharding import is_sharded

__all__ = ["place_"]


@torch.no_grad()
def place_(parameter: Any, manifold: Manifold) -> Any:
    """Put a bare parameter on a manifold, at the nearest point to its value.

    An optimizer of `tm.optim` then keeps it there; any other optimizer raises at its first step.
    Use `tm.constrain` for a weight that a module owns: the record of the module survives copies,
    and the mark that `place_` leaves on the tensor does not.

    Args:
        parameter: a leaf tensor of shape `(*batch, *event)`, or a tuple or dict of them for a
            product; changed in place and returned.
        manifold: the manifold.

    Returns:
        The parameter.

    Raises:
        TypeError: if `manifold` is not a manifold, or `parameter` is not a tensor of a dtype that
            points of the manifold can have.
        ValueError: if its shape or values cannot be projected, if it was computed from other
            tensors, if it is sharded, or if it is on another manifold. Then it is left as it was.

    Example:
        >>> import torch, torchmanifold as tm
        >>> x = tm.place_(torch.nn.Parameter(torch.randn(5, 2)), tm.Stiefel())
        >>> optimizer = tm.optim.RiemannianSGD([x], lr=0.1)
        >>> x.cos().sum().backward()
        >>> optimizer.step()
        >>> bool(tm.manifold_of(x).residual(x) < 1e-5)
        True
    """
    require_manifold("place_", manifold)
    pairs = _pairs(parameter, manifold)
    for tensor, factor in pairs:
        _check(tensor, factor)
    points = [nearest(factor, "place_", p.detach()) for p, factor in pairs]
    for (tensor, factor), point in zip(pairs, points, strict=True):
        if not tensor.is_meta:
            tensor.copy_(point)
        tensor.grad = None
        if manifold_of(tensor) is None:
            place(tensor, Placement(factor))
    return parameter


def _pairs(parameter: Any, manifold: Manifold) -> list[tuple[Any, Manifold]]:
    """Each tensor with the factor on which it lies."""
    if not isinstance(manifold, Product):
        return [(parameter, manifold)]
    parts = zip(manifold.taken_apart("place_", parameter), manifold.manifolds, strict=True)
    return [pair for part, factor in parts for pair in _pairs(part, factor)]


def _check(parameter: Any, manifold: Manifold) -> None:
    if not isinstance(parameter, Tensor):
        raise TypeError(f"place_: parameter must be a tensor, got {type(parameter).__name__}")
    where = f"place_: a tensor of shape {tuple(parameter.shape)}"
    if not parameter.is_leaf:
        raise ValueError(f"{where} was computed from other tensors; pass a leaf, or its detach()")
    if is_sharded(parameter):
        raise ValueError(f"{where} is sharded; constrain the module's weight before fully_shard")
    other = manifold_of(parameter)
    if other not in (None, manifold):
        raise ValueError(f"{where} is on {other!r} already; it cannot be on {manifold!r} as well")
    check_tensor(manifold, where, parameter)
