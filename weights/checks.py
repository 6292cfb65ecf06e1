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

_HALF = (torch.float16, torch.bfloat16)


def check_tensor(manifold: Manifold, name: str, x: Tensor) -> None:
    """Refuse what can be no point of the manifold: no real or complex numbers, NaN, a wrong shape.

    Raises:
        TypeError: if the dtype is an integer or boolean one, or complex where points are real.
        ValueError: for NaN and infinities, and for shapes that no point has.
    """
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"{name}: expected a floating point tensor, got {x.dtype}")
    try:
        manifold.check_dtype(x.dtype)
        manifold.check_shape(tuple(x.shape))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
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
        TypeError: if the manifold has no points of that dtype.
        ValueError: if the projection overflows.
    """
    if x.is_meta:
        return x
    try:
        point = manifold.project(x)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    if not bool(torch.isfinite(point).all()):
        raise ValueError(
            f"{name}: the projection to {manifold!r} overflows {x.dtype}; scale the values, whose "
            f"largest is {float(x.abs().max()):.3g}"
        )
    if point.numel():
        residual, half = float(_residual(manifold, point)), x.dtype in _HALF
        own = manifold.tolerance(tuple(x.shape), x.dtype)
        if not residual <= (own if half else _rounding(manifold, point)):
            raise ValueError(
                f"{name}: {x.dtype} has too few digits for the nearest point of {manifold!r}; its "
                f"residual is {residual:.3g}. Use a wider dtype, or other values"
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


def _residual(manifold: Manifold, x: Tensor) -> Tensor:
    """The worst residual; evaluated in float64, which not every device has."""
    return manifold.residual(x.cpu() if x.device.type == "mps" else x).max()


def _stated(manifold: Manifold, x: Tensor) -> float:
    """The residual that the retraction states."""
    stated = manifold.retraction_rule.residual
    return stated(manifold, tuple(x.shape)) if stated is not None else 0.0


def _rounding(manifold: Manifold, x: Tensor) -> float:
    """What somebody's rounding may leave: in float64 that of float32, from which it may come."""
    dtype = x.dtype if x.dtype in _HALF else torch.float32
    return min(_SLACK * manifold.tolerance(tuple(x.shape), dtype), 0.5)


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
    residual = float(_residual(manifold, x)) if x.numel() else 0.0
    allowed = max(allowed, _stated(manifold, x)) + _rounding(manifold, x)
    if not residual <= allowed:
        raise ValueError(
            f"{name} is not on {manifold!r}: its residual is {residual:.3g}, at most "
            f"{allowed:.3g} is allowed; take manifold.project(value) instead"
        )
