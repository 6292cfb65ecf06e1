"""Scalar functions with their divided differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "EXP",
    "INV_SQRT",
    "LOG",
    "SQRT",
    "SpectralFunction",
    "Spectrum",
    "fitted",
    "piecewise_linear",
    "second_difference",
]


@dataclass(frozen=True)
class SpectralFunction:
    """A scalar function with its first and second divided differences.

    Attributes:
        value: `f(x)`.
        first: `f[x, y]`, finite for `x = y`.
        second: `f[x, y, z]`, finite for coinciding arguments.
        positive: the argument must be positive; eigenvalues of a positive definite matrix
            that rounding made non-positive are lifted to a floor.
    """

    value: Callable[[Tensor], Tensor]
    first: Callable[[Tensor, Tensor], Tensor]
    second: Callable[[Tensor, Tensor, Tensor], Tensor]
    positive: bool = False


# A spectral function, or one whose pieces depend on all the values, `(*batch, n)`. Such a function
# is fitted to the values at its evaluation: a closure over a tensor would escape `torch.func`.
Spectrum = SpectralFunction | Callable[[Tensor], SpectralFunction]


def fitted(function: Spectrum, values: Tensor) -> SpectralFunction:
    """The function itself, with the pieces that fit these values."""
    return function if isinstance(function, SpectralFunction) else function(values)


def second_difference(
    first: Callable[[Tensor, Tensor], Tensor],
    series: Callable[[Tensor, Tensor], Tensor],
    scale: Callable[[Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Second divided difference: a quotient over the widest gap, or a series for a narrow gap.

    Around the mean `m` with `p2` the sum of squared deviations,
    `f[x, y, z] = f''(m) / 2 + f''''(m) p2 / 48 + O(gap^3)`. The switch is at a gap of `eps^(1/4)`,
    where both branches have errors of about `eps^(3/4)`.
    """

    def second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        low, mid, high = torch.stack(torch.broadcast_tensors(x, y, z)).sort(0).values.unbind(0)
        gap = high - low
        narrow = gap <= torch.finfo(gap.dtype).eps ** 0.25 * scale(high)
        mean = (low + mid + high) / 3
        spread = (low - mean) ** 2 + (mid - mean) ** 2 + (high - mean) ** 2
        quotient = (first(mid, high) - first(low, mid)) / gap.masked_fill(narrow, 1)
        return torch.where(narrow, series(mean, spread), quotient)

    return second


def _exp_first(x: Tensor, y: Tensor) -> Tensor:
    # Around the larger argument, so nothing overflows unless exp itself does. The least positive
    # number in place of a zero gap gives the limit without a mask.
    gap = (x - y).abs_().clamp_min_(torch.finfo(x.dtype).tiny).neg_()
    return torch.expm1(gap).div_(gap).mul_(torch.maximum(x.exp(), y.exp()))


def _log_first(x: Tensor, y: Tensor) -> Tensor:
    low = torch.minimum(x, y)
    ratio = (x - y).abs_().div_(low).clamp_min_(torch.finfo(x.dtype).tiny)
    return torch.log1p(ratio).div_(ratio).div_(low)


def _sqrt_second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    a, b, c = x.sqrt(), y.sqrt(), z.sqrt()
    return -1 / ((a + b) * (b + c) * (c + a))


def _inv_sqrt_first(x: Tensor, y: Tensor) -> Tensor:
    a, b = x.sqrt(), y.sqrt()
    return -1 / (a * b * (a + b))


def _inv_sqrt_second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    a, b, c = x.sqrt(), y.sqrt(), z.sqrt()
    return (a + b + c) / (a * b * c * (a + b) * (b + c) * (c + a))


EXP = SpectralFunction(
    torch.exp,
    _exp_first,
    second_difference(_exp_first, lambda m, p: m.exp() * (0.5 + p / 48), torch.ones_like),
)


LOG = SpectralFunction(
    torch.log,
    _log_first,
    second_difference(_log_first, lambda m, p: -(0.5 + p / (8 * m * m)) / (m * m), torch.abs),
    positive=True,
)


SQRT = SpectralFunction(
    torch.sqrt, lambda x, y: 1 / (x.sqrt() + y.sqrt()), _sqrt_second, positive=True
)


INV_SQRT = SpectralFunction(torch.rsqrt, _inv_sqrt_first, _inv_sqrt_second, positive=True)


def _quotient(x: Tensor, y: Tensor, fx: Tensor, fy: Tensor) -> Tensor:
    gap = x - y
    zero = gap == 0
    return ((fx - fy) / gap.masked_fill(zero, 1)).masked_fill(zero, 0)


def piecewise_linear(
    value: Callable[[Tensor], Tensor], piece: Callable[[Tensor], Tensor]
) -> SpectralFunction:
    """Divided differences of a function that is linear on pieces.

    `piece` numbers the pieces, so points of one piece need no quotient: their first difference
    is the slope, and the second is zero. Odd pieces have slope 1, and even pieces slope 0.
    """

    def first(x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(x, y)
        i, j = piece(x), piece(y)
        return torch.where(i == j, (i % 2).to(x.dtype), _quotient(x, y, value(x), value(y)))

    def second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        low, mid, high = torch.stack(torch.broadcast_tensors(x, y, z)).sort(0).values.unbind(0)
        difference = _quotient(high, low, first(mid, high), first(low, mid))
        i, j, k = piece(low), piece(mid), piece(high)
        return difference.masked_fill((i == j) & (j == k), 0)

    return SpectralFunction(value, first, second)
