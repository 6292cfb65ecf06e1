"""Entire functions of a square, elementwise, whose derivatives are finite at zero."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cos_sinc"]


def _taylor(t: Tensor, first: int, terms: int = 9) -> Tensor:
    """`sum_k (-t)^k first! / (2k + first)!` by Horner's rule, for `t` up to 1."""
    total = torch.ones_like(t)
    for k in range(terms, 0, -1):
        total = 1 - t / ((2 * k + first) * (2 * k + first - 1)) * total
    return total


def cos_sinc(t: Tensor) -> tuple[Tensor, Tensor]:
    """`cos(r)` and `sin(r) / r` of `r = sqrt(t)`, for `t >= 0`."""
    small = t < 1
    # Each branch sees arguments of its own alone: no NaN enters a derivative.
    r = torch.where(small, 1.0, t).sqrt()
    near = torch.where(small, t, 0.0)
    return (
        torch.where(small, _taylor(near, 0), r.cos()),
        torch.where(small, _taylor(near, 1), r.sin() / r),
    )
