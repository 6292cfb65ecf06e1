"""Entire functions of a square, elementwise, whose derivatives are finite at zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["arctanc", "asinhc", "cos_sinc", "cosh_sinhc", "polynomial", "tanhc"]


def _written_out() -> bool:
    """Whether the derivatives are those of the operations.

    The compiler fuses them, and `torch.func` needs them: PyTorch gives zero for a forward
    derivative of the forward derivative of a custom function.
    """
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def _bessel(t: Tensor, n: int) -> Tensor:
    """`sum_k (-t / 2)^k / (k! (2n + 2k + 1)!!)` by Horner's rule, for `|t|` up to 1."""
    total = torch.ones_like(t)
    for k in range(9, 0, -1):
        total = 1 - t / (2 * k * (2 * n + 2 * k + 1)) * total
    return total / math.prod(range(1, 2 * n + 2, 2))


class _Entire(torch.autograd.Function):
    """`S_(n-1)` and `S_n` at `sign * t`, elementwise, where `S_n(r^2) = j_n(r) / r^n`.

    `j_n` are the spherical Bessel functions; `S_(-1) = cos(r)`, `S_0 = sin(r) / r`, and
    `S_n' = -S_(n+1) / 2`. With the sign -1 they are hyperbolic. Values of order 0 need no series,
    which the order 1 of the first derivative needs near 0.

    Source: NIST Digital Library of Mathematical Functions, 10.51.
    """

    @staticmethod
    def forward(t: Tensor, n: int, sign: int) -> tuple[Tensor, Tensor]:
        finite = torch.finfo(t.dtype)
        # Also where a square overflows, or is negative by rounding.
        t = t.clamp(finite.tiny, finite.max)
        r = t.sqrt()
        if sign > 0:
            lower, upper = r.cos(), r.sin() / r
        else:
            lower, upper = r.cosh(), r.sinh() / r
        if n == 0:
            return lower, upper
        small = t < 1
        for k in range(n):
            lower, upper = upper, ((2 * k + 1) * upper - lower) / (sign * t)
        near = sign * torch.where(small, t, 0.0)
        return (
            torch.where(small, _bessel(near, n - 1), lower),
            torch.where(small, _bessel(near, n), upper),
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        t, ctx.n, ctx.sign = inputs
        ctx.save_for_backward(t)
        ctx.save_for_forward(t)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        (t,) = ctx.saved_tensors
        lower, upper = _Entire.apply(t, ctx.n + 1, ctx.sign)
        return -ctx.sign / 2 * (grads[0] * lower + grads[1] * upper), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, Tensor]:
        (t,) = ctx.saved_tensors
        lower, upper = _Entire.apply(t, ctx.n + 1, ctx.sign)
        half = -ctx.sign / 2 * tangents[0]
        return half * lower, half * upper


def _in_operations(t: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """The values of order 0 with the derivatives of their operations."""
    t = t.clamp_max(torch.finfo(t.dtype).max)
    small = t < 1
    # Each branch sees only arguments of its own range, so no NaN enters a derivative.
    r = torch.where(small, 1.0, t).sqrt()
    near = sign * torch.where(small, t, 0.0)
    cos, sin = (r.cos(), r.sin()) if sign > 0 else (r.cosh(), r.sinh())
    return torch.where(small, _bessel(near, -1), cos), torch.where(small, _bessel(near, 0), sin / r)


def _order_0(t: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    if _written_out():
        return _in_operations(t, sign)
    found: tuple[Tensor, Tensor] = _Entire.apply(t, 0, sign)
    return found


def cos_sinc(t: Tensor) -> tuple[Tensor, Tensor]:
    """`cos(r)` and `sin(r) / r` of `r = sqrt(t)`, for `t >= 0`, also where a square overflows."""
    return _order_0(t, 1)


def cosh_sinhc(t: Tensor) -> tuple[Tensor, Tensor]:
    """`cosh(r)` and `sinh(r) / r` of `r = sqrt(t)`, for `t >= 0`."""
    return _order_0(t, -1)


def tanhc(t: Tensor) -> Tensor:
    """`tanh(r) / r` of `r = sqrt(t)`, for `t >= 0`."""
    small = t < 1
    r = torch.where(small, 1.0, t).sqrt()
    cosh, sinhc = cosh_sinhc(torch.where(small, t, 0.0))
    return torch.where(small, sinhc / cosh, r.tanh() / r)


# The coefficients of asinh(r) / r = sum_k (-1/4)^k binomial(2k, k) t^k / (2k + 1), for t < 0.01.
_ASINHC = tuple((-0.25) ** k * math.comb(2 * k, k) / (2 * k + 1) for k in range(10))


def polynomial(t: Tensor, coefficients: Sequence[float]) -> Tensor:
    """`sum_k coefficients[k] t^k`, by Horner's rule."""
    total = torch.full_like(t, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * t + c
    return total


def _asinhc_in_operations(t: Tensor) -> Tensor:
    small = t < 0.01
    r = torch.where(small, 1.0, t).sqrt()
    series = polynomial(torch.where(small, t, 0.0), _ASINHC)
    return torch.where(small, series, r.asinh() / r)


class _Asinhc(torch.autograd.Function):
    """`asinh(r) / r`, which needs no series; its derivative does."""

    @staticmethod
    def forward(t: Tensor) -> Tensor:
        r = t.clamp_min(torch.finfo(t.dtype).tiny).sqrt()
        return r.asinh() / r

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def slope(t: Tensor) -> Tensor:
        """The derivative, in operations that have derivatives themselves."""
        small = t < 0.01
        far = torch.where(small, 1.0, t)
        series = polynomial(torch.where(small, t, 0.0), [k * c for k, c in enumerate(_ASINHC)][1:])
        value = far.sqrt().asinh() / far.sqrt()
        return torch.where(small, series, ((1 + far).rsqrt() - value) / (2 * far))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        return grads[0] * _Asinhc.slope(*ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return tangents[0] * _Asinhc.slope(*ctx.saved_tensors)


def asinhc(t: Tensor) -> Tensor:
    """`asinh(r) / r` of `r = sqrt(t)`, for `t >= 0`."""
    if _written_out():
        return _asinhc_in_operations(t)
    found: Tensor = _Asinhc.apply(t)
    return found


# The coefficients of arctan(r) / r in t = r^2, for t < 0.01.
_ARCTANC = tuple((-1) ** k / (2 * k + 1) for k in range(10))


def arctanc(t: Tensor) -> Tensor:
    """`arctan(r) / r` of `r = sqrt(t)`, for `t >= 0`."""
    small = t < 0.01
    r = torch.where(small, 1.0, t).sqrt()
    return torch.where(small, polynomial(torch.where(small, t, 0.0), _ARCTANC), r.arctan() / r)
