"""In which precision a function computes, and whether it may read values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

__all__ = ["HALF", "in_working_precision", "narrow", "reads_values", "single", "wide"]


F = TypeVar("F", bound=Callable[..., Any])


HALF = (torch.float16, torch.bfloat16)


def in_working_precision(function: F) -> F:
    """Compute in float32 when the tensor arguments are float16 or bfloat16, and round once.

    Factorizations do not exist in half precision, and products of half-precision factors
    lose the constraint: so under autocast nothing is cast either.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        kind = next((a.device.type for a in args if isinstance(a, Tensor)), "meta")
        if kind != "meta" and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return wrapper(*args, **kwargs)
        half = next((a.dtype for a in args if isinstance(a, Tensor) and a.dtype in HALF), None)
        if half is None:
            return function(*args, **kwargs)
        wide = [a.float() if isinstance(a, Tensor) and a.dtype in HALF else a for a in args]
        out = function(*wide, **kwargs)
        if isinstance(out, tuple):
            return tuple(x.to(half) for x in out)
        return out.to(half) if isinstance(out, Tensor) else out

    # A code object of its own: the compiler counts recompilations by it, and profiles name it.
    named: Any = wrapper
    named.__code__ = named.__code__.replace(co_name=function.__qualname__)
    return cast(F, named)


HALF = (torch.float16, torch.bfloat16)


def single(x: Tensor) -> Tensor:
    """`x`, in float32 if it is in half precision."""
    return x.float() if x.dtype in HALF else x


def wide(x: Tensor) -> Tensor:
    """In float64, on devices that have it."""
    if x.device.type == "mps":
        return x
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def narrow(x: Tensor, dtype: torch.dtype) -> Tensor:
    """In the precision of `dtype`, the inverse of `wide`; `x` itself where that is its own.

    `x.to(x.dtype)` is `x` too, but as the value of a `MatrixFunction` PyTorch 2.11 compiles it
    into one without derivative.
    """
    return x if x.dtype == dtype else x.to(dtype)


def reads_values(x: Tensor) -> bool:
    """May an algorithm be chosen from a value? Not on an accelerator, not while tracing."""
    return (
        x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()
    )
