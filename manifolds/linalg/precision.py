"""The precision in which a function computes, and whether it may read values."""

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
    """Compute in float32 at least, and round once if all tensor arguments are in half precision.

    Factorizations do not exist in half precision, and products of half-precision factors lose
    the constraint. For the same reason nothing is cast under autocast.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tensors = [a for a in args if isinstance(a, Tensor)]
        kind = tensors[0].device.type if tensors else "meta"
        if kind != "meta" and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return wrapper(*args, **kwargs)
        if not any(t.dtype in HALF for t in tensors):
            return function(*args, **kwargs)
        out = function(*(single(a) if isinstance(a, Tensor) else a for a in args), **kwargs)
        dtype = functools.reduce(torch.promote_types, (t.dtype for t in tensors))
        if dtype not in HALF:
            return out
        if isinstance(out, tuple):
            return tuple(x.to(dtype) for x in out)
        return out.to(dtype) if isinstance(out, Tensor) else out

    # Each function has its own code object: the compiler counts recompilations by code objects, and
    # profiles name them.
    named: Any = wrapper
    named.__code__ = named.__code__.replace(co_name=function.__qualname__)
    return cast(F, named)


def single(x: Tensor) -> Tensor:
    """`x`, in float32 if it is in half precision."""
    return x.float() if x.dtype in HALF else x


def wide(x: Tensor) -> Tensor:
    """`x` in float64, on devices that have it."""
    if x.device.type == "mps":
        return x
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def narrow(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` in the precision of `dtype`, the inverse of `wide`; `x` itself if it has that dtype.

    `x.to(x.dtype)` is `x` too, but PyTorch 2.11 compiles a `MatrixFunction` with this value without
    its derivative.
    """
    return x if x.dtype == dtype else x.to(dtype)


def reads_values(x: Tensor) -> bool:
    """Whether a value may decide the algorithm: not on an accelerator, and not while tracing."""
    return (
        x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()
    )
