"""Checks of shapes and dtypes: errors with the remedy."""

from __future__ import annotations

import math

import torch

__all__ = ["is_complex", "require_count", "require_dtype", "require_positive", "require_square"]


def require_square(name: str, shape: tuple[int, ...], otherwise: str = "") -> None:
    """Raise a ValueError with the remedy for a shape that is not `(*batch, n, n)`."""
    if len(shape) < 2 or shape[-1] != shape[-2]:
        count = shape[0] // shape[1] if len(shape) == 2 and shape[1] else 0
        if count > 1 and shape[0] == count * shape[1]:
            otherwise = f"; {count} stacked square blocks take blocks={count}"
        raise ValueError(
            f"{name}: a point is a square matrix, got the shape {tuple(shape)}{otherwise}"
        )


def is_complex(dtype: torch.dtype | None) -> bool:
    """Whether the dtype is complex; None stands for real numbers."""
    return dtype is not None and dtype.is_complex


def require_dtype(owner: object, numbers: str, dtype: torch.dtype | None) -> None:
    """Raise a TypeError for a dtype that no number of that kind has; None is any."""
    if dtype is None:
        return
    if not isinstance(dtype, torch.dtype):
        raise TypeError(
            f"{owner!r}: dtype must be one such as torch.float32, got {dtype!r}; torch.as_tensor "
            f"makes a tensor of an array"
        )
    if not (dtype.is_floating_point or dtype.is_complex):
        raise TypeError(f"{owner!r}: points have floating point entries, got {dtype}; use float32")
    if numbers not in ("complex" if dtype.is_complex else "real", "either"):
        single = torch.promote_types(dtype, torch.float32)
        other = single.to_real() if dtype.is_complex else single.to_complex()
        raise TypeError(f"{owner!r}: points are {numbers}, got {dtype}; use {other}")


def require_count(owner: str, name: str, value: object) -> None:
    """Raise a ValueError for a field that is not a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{owner}: {name} must be a positive integer, got {value!r}")


def require_positive(owner: str, name: str, value: object) -> None:
    """Raise a ValueError for a field that is not a positive, finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 < value < math.inf):  # type: ignore[operator]
        raise ValueError(f"{owner}: {name} must be a positive number, got {value!r}")
