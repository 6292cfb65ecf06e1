"""Checks of tensors that shall lie on a manifold."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import Manifold

__all__ = ["check_module", "check_point", "check_tensor", "nearest"]


# How far from the manifold an assigned value may be, in units of `Manifold.tolerance`. The results
# of other orthogonalizations in float32 are accepted, and other matrices are not.
_SLACK = 100

_HALF = (torch.float16, torch.bfloat16)


def check_module(caller: str, name: str, module: object, remedy: str = "") -> None:
    """Refuse an object that is not a module.

    Raises:
        TypeError: with the name of the argument.
    """
    if not isinstance(module, nn.Module):
        found = type(module).__name__
        raise TypeError(f"{caller}: {name} must be an nn.Module, got {found}{remedy}")


def check_tensor(manifold: Manifold, name: str, x: Tensor) -> None:
    """Refuse a tensor that cannot be projected: of integers, with NaN, or of a wrong shape.

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
    if x.is_meta:  # no values yet
        return
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ValueError(
            f"{name}: {bad} of {x.numel()} entries are NaN or infinite; initialize the weight first"
        )


def nearest(manifold: Manifold, name: str, x: Tensor) -> Tensor:
    """The point of the manifold nearest to `x`; a tensor without values is returned as it is.

    There is a warning for a zero weight of a sphere or of a set of orthonormal columns, which has
    no nearest point.

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
            f"{name} is zero, and all points of {manifold!r} are equally near to zero; it becomes "
            "manifold.project(0). Take manifold.random(...) for another point",
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
    """The largest residual, in float64 if the device has it."""
    return manifold.residual(x.cpu() if x.device.type == "mps" else x).max()


def _stated(manifold: Manifold, x: Tensor) -> float:
    """The residual that the manifold's retraction states."""
    stated = manifold.retraction_rule.residual
    return stated(manifold, tuple(x.shape)) if stated is not None else 0.0


def _rounding(manifold: Manifold, x: Tensor) -> float:
    """The residual of rounding elsewhere: float64 values may come from float32."""
    dtype = x.dtype if x.dtype in _HALF else torch.float32
    return min(_SLACK * manifold.tolerance(tuple(x.shape), dtype), 0.5)


def check_point(manifold: Manifold, name: str, x: Tensor, allowed: float = 0.0) -> None:
    """Refuse a tensor off the manifold, beyond rounding and a stated residual.

    Args:
        manifold: where the value must lie.
        name: the name of the value in the message.
        x: the value.
        allowed: a residual that an optimizer states, beside the one of the manifold's retraction.

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
