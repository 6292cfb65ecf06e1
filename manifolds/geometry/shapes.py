"""Checks of shapes: errors with the remedy."""

from __future__ import annotations

__all__ = ["square_side"]


def square_side(name: str, shape: tuple[int, ...], otherwise: str = "") -> int:
    """The side of square matrices of the given shape; an error with the remedy otherwise."""
    if len(shape) < 2 or shape[-1] != shape[-2]:
        count = shape[0] // shape[1] if len(shape) == 2 and shape[1] else 0
        if count > 1 and shape[0] == count * shape[1]:
            otherwise = f"; {count} stacked square blocks take blocks={count}"
        raise ValueError(
            f"{name}: a point is a square matrix, got the shape {tuple(shape)}{otherwise}"
        )
    return shape[-1]
