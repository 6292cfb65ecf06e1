"""What a weight must be to lie on a manifold."""

from __future__ import annotations

import warnings

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

    A zero weight of a sphere or of a set of orthonormal columns has no nearest point: a warning
    says so.

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
    if x.numel() and not bool(x.any()) and _all_are_as_near(manifold, point):
        warnings.warn(
            f"{name} is zero, to which all points of {manifold!r} are equally near; it becomes the "
            "one that project(0) gives. Take manifold.random(...) for another",
            stacklevel=4,
        )
    return point


def _all_are_as_near(manifold: Manifold, point: Tensor) -> bool:
    """Whether another point is as far from zero."""
    generator = torch.Generator(point.device).manual_seed(0)
    other = manifold.random(
        *point.shape, generator=generator, dtype=point.dtype, device=point.device
    )
    size = torch.linalg.vector_norm(point)
    return bool((torch.linalg.vector_norm(other) - size).abs() < 1e-2 * size)


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
