"""Entire functions of a square, elementwise, whose derivatives are finite at zero."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["asinhc", "cos_sinc", "cosh_sinhc", "tanhc"]


def _taylor(t: Tensor, first: int, terms: int = 9) -> Tensor:
    """`sum_k (-t)^k first! / (2k + first)!` by Horner's rule, for `t` up to 1."""
    total = torch.ones_like(t)
    for k in range(terms, 0, -1):
        total = 1 - t / ((2 * k + first) * (2 * k + first - 1)) * total
    return total


def cos_sinc(t: Tensor) -> tuple[Tensor, Tensor]:
    """`cos(r)` and `sin(r) / r` of `r = sqrt(t)`, for `t >= 0`, also where a square overflows."""
    t = t.clamp_max(torch.finfo(t.dtype).max)
    small = t < 1
    # Each branch sees only arguments of its own range, so no NaN enters a derivative.
    r = torch.where(small, 1.0, t).sqrt()
    near = torch.where(small, t, 0.0)
    return (
        torch.where(small, _taylor(near, 0), r.cos()),
        torch.where(small, _taylor(near, 1), r.sin() / r),
    )


def cosh_sinhc(t: Tensor) -> tuple[Tensor, Tensor]:
    """`cosh(r)` and `sinh(r) / r` of `r = sqrt(t)`, for `t >= 0`."""
    small = t < 1
    r = torch.where(small, 1.0, t).sqrt()
    near = torch.where(small, -t, 0.0)
    return (
        torch.where(small, _taylor(near, 0), r.cosh()),
        torch.where(small, _taylor(near, 1), r.sinh() / r),
    )


def tanhc(t: Tensor) -> Tensor:
    """`tanh(r) / r` of `r = sqrt(t)`, for `t >= 0`."""
    small = t < 1
    r = torch.where(small, 1.0, t).sqrt()
    cosh, sinhc = cosh_sinhc(torch.where(small, t, 0.0))
    return torch.where(small, sinhc / cosh, r.tanh() / r)


def asinhc(t: Tensor) -> Tensor:
    """`asinh(r) / r` of `r = sqrt(t)`, for `t >= 0`."""
    small = t < 0.01
    r = torch.where(small, 1.0, t).sqrt()
    near, total = torch.where(small, t, 0.0), torch.zeros_like(t)
    # sum_k (-1/4)^k binomial(2k, k) t^k / (2k + 1)
    coefficient = 1.0
    coefficients = []
    for k in range(9):
        coefficients.append(coefficient / (2 * k + 1))
        coefficient *= -(2 * k + 1) / (2 * k + 2)
    for c in reversed(coefficients):
        total = total * near + c
    return torch.where(small, total, r.asinh() / r)
