"""Checks of the arguments of `OrthogonalRNN`, with the messages of `nn.RNN` where it has them."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = [
    "check_dropout",
    "check_flags",
    "check_input",
    "check_name",
    "check_positive",
    "check_sizes",
    "check_state",
]


def check_sizes(**sizes: int) -> None:
    """Refuse sizes that are not positive integers."""
    for name, size in sizes.items():
        if not isinstance(size, int):
            raise TypeError(
                f"OrthogonalRNN: {name} should be of type int, got: {type(size).__name__}"
            )
        if size <= 0:
            raise ValueError(f"OrthogonalRNN: {name} must be greater than zero, got {size}")


def check_flags(**flags: bool) -> None:
    """Refuse flags that are not True or False."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise TypeError(
                f"OrthogonalRNN: {name} should be of type bool, got: {type(flag).__name__}"
            )


def check_dropout(dropout: float, num_layers: int) -> None:
    """Refuse a dropout that is not a probability, and warn where it has no effect."""
    if not isinstance(dropout, int | float) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError(
            f"OrthogonalRNN: dropout should be a number in [0, 1], the probability of an element "
            f"being zeroed, got {dropout!r}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"OrthogonalRNN: dropout={dropout} comes after all layers but the last, so it expects "
            f"num_layers greater than 1, got num_layers={num_layers}",
            stacklevel=3,
        )


def check_name(argument: str, name: object, known: Iterable[str], also: str = "") -> None:
    """Refuse an unknown name, and suggest the nearest known one."""
    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"OrthogonalRNN: {argument} must be one of {', '.join(map(repr, names))}{also}, "
        f"got {name!r}{hint}"
    )


def check_positive(**numbers: float | None) -> None:
    """Refuse numbers that are neither positive nor None."""
    for name, number in numbers.items():
        known = isinstance(number, int | float) and not isinstance(number, bool) and number > 0
        if number is not None and not known:
            raise ValueError(
                f"OrthogonalRNN: {name} must be a positive number or None, got {number!r}"
            )


def check_input(x: Tensor, input_size: int, dtype: torch.dtype) -> None:
    """Refuse an input that is not `(..., input_size)` in the dtype of the weights."""
    if x.shape[-1] != input_size:
        raise RuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {input_size}, got {x.shape[-1]}"
        )
    _check_dtype("input", x, dtype)


def check_state(hx: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Refuse a state that is not `(layers * directions, batch, hidden_size)` (batch optional)."""
    if not isinstance(hx, Tensor):
        raise TypeError(
            f"OrthogonalRNN: hx must be a tensor of shape {shape}, got a {type(hx).__name__}; "
            f"only an LSTM has a pair of states"
        )
    if tuple(hx.shape) != shape:
        raise RuntimeError(
            f"OrthogonalRNN: expected hx of shape {shape} (num_layers * directions, "
            f"{'batch, ' if len(shape) == 3 else ''}hidden_size), got {tuple(hx.shape)}"
        )
    _check_dtype("hx", hx, dtype)


def _check_dtype(name: str, x: Tensor, dtype: torch.dtype) -> None:
    if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(
            f"OrthogonalRNN: {name} dtype ({x.dtype}) does not match weight dtype ({dtype}). "
            f"Convert {name}: {name}.to({dtype}), or convert model: model.to({x.dtype})"
        )
