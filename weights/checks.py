"""What a weight must be to lie on a manifold."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds import Manifold

__all__ = ["check_point", "check_tensor", "nearest"]


# How far from the manifold an assigned value may be, in units of `Manifold.tolerance`: what
# other people's orthogonalizations leave in float32 is let in, another matrix is not.
_SLACK = 100


def check_tensor(manifold: Manifold, name: str, x: Tensor) -> None:
    """Refuse what can be no point of the manifold: no real or complex numbers, NaN, a wrong shape.

    Raises:
        TypeError: if the dtype is an integer or boolean one, or complex where points are real.
        ValueError: for NaN and infinities, and for shapes that no point has.
    """
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"{name}: expected a floating point tensor, got {x.dtype}")
    manifold.check_dtype(x.dtype)
    manifold.check_shape(tuple(x.shape))
    if x.is_meta:  # no values yet: those that are loaded later are what they are
        return
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ValueError(
            f"{name}: {bad} of {x.numel()} entries are NaN or infinite; initialize the weight first"
        )


def nearest(manifold: Manifold, name: str, x: Tensor) -> Tensor:
    """The point of the manifold nearest to `x`; a tensor without values is returned as it is.

    Raises:
        ValueError: if the projection overflows.
    """
    if x.is_meta:
        return x
    point = manifold.project(x)
    if not bool(torch.isfinite(point).all()):
        raise ValueError(
            f"{name}: the projection to {manifold!r} overflows {x.dtype}; scale the values, whose "
            f"largest is {float(x.abs().max()):.3g}"
        )
    return point


def check_point(manifold: Manifold, name: str, x: Tensor, allowed: float = 0.0) -> None:
    """Refuse what is no point of the manifold, up to somebody's rounding or a stated residual.

    Args:
        manifold: where the value must lie.
        name: what the message calls it.
        x: the value.
        allowed: a residual that an optimizer states, beside that of the manifold's retraction.

    Raises:
        TypeError: if the dtype is an integer or boolean one.
        ValueError: for shapes, NaN and infinities as in `check_tensor`, and for a large residual.
    """
    check_tensor(manifold, name, x)
    if x.is_meta:
        return
    # The residual is evaluated in float64, which not every device has.
    value = x.cpu() if x.device.type == "mps" else x
    residual = float(manifold.residual(value).max()) if x.numel() else 0.0
    # Also in float64, to which weights are converted.
    dtype = x.dtype if x.dtype in (torch.float16, torch.bfloat16) else torch.float32
    shape, stated = tuple(x.shape), manifold.retraction_rule.residual
    allowed = max(allowed, stated(manifold, shape) if stated is not None else 0.0)
    allowed += _SLACK * manifold.tolerance(shape, dtype)
    if not residual <= allowed:
        raise ValueError(
            f"{name} is not on {manifold!r}: its residual is {residual:.3g}, at most "
            f"{allowed:.3g} is allowed; take manifold.project(value) instead"
        )
