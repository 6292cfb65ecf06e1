"""The polynomials, the scaling and the squarings of the matrix exponential, with their adjoints.

The module `exponential` describes the method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    accumulate,
    add_product,
    add_to_diagonal_,
    adjoint,
    eye_like,
    frobenius,
    largest_finite,
    polish_change,
    skew,
    skew_norm_bound,
    skew_square,
    transposed,
)

__all__ = ["expm1_by_norm", "expm1_masked", "one_norm", "pull_back"]


_R = math.sqrt(177)


_X3 = 2 / 3


_X1, _X2 = _X3 * (1 + _R) / 88, _X3 * (1 + _R) / 352


_X4, _X5 = (-271 + 29 * _R) / (315 * _X3), 11 * (-1 + _R) / (1260 * _X3)


_X6, _X7 = 11 * (-9 + _R) / (5040 * _X3), (89 - _R) / (5040 * _X3**2)


_Y2 = (857 - 58 * _R) / 630


# Rows: B1 to B5 as combinations of I, A, A^2, A^3, A^6.
_B = (
    (0.0, -0.100365581030144618, -0.00802924648241156933, -0.000892138498045729985, 0.0),
    (
        0.0,
        0.397849749499645078,
        1.36783778460411720,
        0.498289622525382669,
        -0.000637898194594723280,
    ),
    (
        -10.9676396052962062,
        1.68015813878906206,
        0.0571779846478865511,
        -0.00698210122488052057,
        3.34975017086070471e-05,
    ),
    (
        -0.0904316832390810593,
        -0.0676404519071381883,
        0.0675961301770459655,
        0.0295552570429315521,
        -1.39180257516060694e-05,
    ),
    (0.0, 0.0, -0.0923364619367118556, -0.0169364939002081723, -1.40086798182036095e-05),
)


# Largest bound on the spectral norm for degree 4 and 8, and the target of the scaling for 18. The
# target is lower for skew matrices in float32, because the Taylor terms of a skew matrix of norm 3
# cancel; the polish then makes up for the additional squarings.
_THETA = {torch.float32: (0.094, 0.65, 3.01), torch.float64: (1.7e-3, 0.069, 1.09)}


_THETA_SKEW = {torch.float32: (0.094, 0.65, 2.2), torch.float64: (1.7e-3, 0.069, 1.09)}


_POLISH_EVERY = 5  # squarings; each doubles the distance from orthogonality


def one_norm(x: Tensor) -> Tensor:
    """Largest absolute row sum, `(*batch,)`: the 1-norm of the transpose, read contiguously."""
    rows = x.abs().sum(-1)
    return rows.amax(-1) if rows.shape[-1] else rows.sum(-1)


# If the argument is skew, its odd powers and their tangents are skew, and the even powers are
# symmetric. So only the skew part of the gradient of an odd power counts, which is taken at the
# end, and only the symmetric part of the gradient of an even power.
def _add_square_adjoint(
    total: Tensor, grad: Tensor, x: Tensor, skewed: bool, scale: float = 1
) -> Tensor:
    """`total` plus the pull-back of `scale grad` through `x -> x x`, in the memory of `total`."""
    if skewed:
        return accumulate(total, transposed(grad).add_(grad), x, alpha=-scale)
    total = accumulate(total, grad, adjoint(x), alpha=scale)
    return accumulate(total, adjoint(x), grad, alpha=scale)


# ---- The polynomials. Forward returns E, and the tensors that the adjoint needs besides A and A^2.
def _degree4(a: Tensor, a2: Tensor) -> tuple[Tensor, list[Tensor]]:
    m = add_to_diagonal_(torch.add(a2, a, alpha=4), 12)
    return add_product(a, a2, m, alpha=1 / 24), [m]


def _degree4_adjoint(g: Tensor, a: Tensor, a2: Tensor, tape: list[Tensor], skewed: bool) -> Tensor:
    (m,) = tape
    mb = adjoint(a2) @ g
    ab = torch.add(g, mb, alpha=4 / 24)
    a2b = accumulate(mb, g, adjoint(m))
    return _add_square_adjoint(ab, a2b, a, skewed, 1 / 24)


def _degree8(a: Tensor, a2: Tensor) -> tuple[Tensor, list[Tensor]]:
    p = torch.add(_X1 * a, a2, alpha=_X2)
    left = add_product(a2, a2, p, beta=_X3)
    # With a4 = a2 p = left - x3 a2.
    right = torch.add(_X5 * a, a2, alpha=_X6 - _X7 * _X3).add_(left, alpha=_X7)
    right = add_to_diagonal_(right, _X4)
    return add_product(torch.add(a, a2, alpha=_Y2), left, right), [p, left, right]


def _degree8_adjoint(g: Tensor, a: Tensor, a2: Tensor, tape: list[Tensor], skewed: bool) -> Tensor:
    p, left, right = tape
    rb, lb = adjoint(left) @ g, g @ adjoint(right)
    a4b = torch.add(lb, rb, alpha=_X7)
    pb = adjoint(a2) @ a4b
    a2b = accumulate(lb, a4b, adjoint(p), beta=_X3)
    a2b.add_(rb, alpha=_X6).add_(g, alpha=_Y2).add_(pb, alpha=_X2)
    ab = torch.add(g, rb, alpha=_X5).add_(pb, alpha=_X1)
    return _add_square_adjoint(ab, a2b, a, skewed)


def _combination(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    terms = [(w, x) for w, x in zip(weights, tensors, strict=True) if w]
    total = terms[0][0] * terms[0][1]
    for weight, tensor in terms[1:]:
        total.add_(tensor, alpha=weight)
    return total


def _combine(row: Sequence[float], powers: Sequence[Tensor]) -> Tensor:
    """One row of the table, applied to the powers of A."""
    return add_to_diagonal_(_combination(row[1:], powers), row[0])


def _column(k: int, grads: Sequence[Tensor]) -> Tensor:
    """The adjoint of `_combine`: the gradient of one power of A, from the five combinations."""
    return _combination([row[k] for row in _B], grads)


def _degree18(a: Tensor, a2: Tensor, a3: Tensor, a6: Tensor) -> tuple[Tensor, list[Tensor]]:
    b1, b2, b3, b4, b5 = (_combine(row, (a, a2, a3, a6)) for row in _B)
    a9 = add_product(b4, b1, b5)
    s = b3 + a9
    return add_to_diagonal_(add_product(b2, s, a9), -1), [a3, b1, b5, a9, s]


def _degree18_adjoint(g: Tensor, a: Tensor, a2: Tensor, tape: list[Tensor], skewed: bool) -> Tensor:
    a3, b1, b5, a9, s = tape
    b3b = g @ adjoint(a9)
    b4b = add_product(b3b, adjoint(s), g)
    grads = (b4b @ adjoint(b5), g, b3b, b4b, adjoint(b1) @ b4b)
    ab, a2b, a3b, a6b = (_column(k, grads) for k in range(1, 5))
    a3b = _add_square_adjoint(a3b, a6b, a3, skewed)
    a2b = accumulate(a2b, a3b, adjoint(a))
    ab = accumulate(ab, adjoint(a2), a3b)
    return _add_square_adjoint(ab, a2b, a, skewed)


_ADJOINTS = {4: _degree4_adjoint, 8: _degree8_adjoint, 18: _degree18_adjoint}


def _thresholds(a: Tensor, skewed: bool) -> tuple[float, float, float]:
    double = a.dtype in (torch.float64, torch.complex128)
    return (_THETA_SKEW if skewed else _THETA)[torch.float64 if double else torch.float32]


def _squarings(theta: float, bound: float) -> int:
    """Least `s` with `theta / 2^s <= bound`; 0 for a NaN, which propagates without it."""
    if not (math.isfinite(theta) and theta > bound):
        return 0
    return math.ceil(math.log2(theta / bound))


def expm1_by_norm(a: Tensor, skewed: bool) -> tuple[Tensor, int, list[Tensor]]:
    """`exp(a) - 1` with degree and scaling read from the norm.

    Returns the value, the degree, and the tape `[a2, polynomial's tensors ..., E_0, E_1, ...]` of
    the scaled `a` and of every squaring.
    """
    low, middle, high = _thresholds(a, skewed)
    a2 = skew_square(a) if skewed else a @ a
    bound = skew_norm_bound(a, a2) if skewed or not a.numel() else math.inf
    if not bound <= low:
        theta = one_norm(a)
        if skewed:
            # The spectral norm of a normal matrix is at most ||A^k||_1^(1/k) for every k.
            theta = torch.minimum(theta, one_norm(a2).sqrt())
        bound = min(largest_finite(theta), bound)
    if bound <= low:
        e, tape = _degree4(a, a2)
        return e, 4, [a2, *tape]
    if bound <= 2 * middle:
        s = _squarings(bound, middle)
        a, a2 = _scaled((a, a2), (1, 2), s)
        e, tape = _degree8(a, a2)
        degree = 8
    else:
        a3 = a2 @ a
        a6 = a3 @ a3
        if skewed:
            sixth = torch.minimum(one_norm(a6), frobenius(a6))
            bound = min(bound, largest_finite(sixth) ** (1 / 6))
        s = _squarings(bound, high)
        a, a2, a3, a6 = _scaled((a, a2, a3, a6), (1, 2, 3, 6), s)
        e, tape = _degree18(a, a2, a3, a6)
        degree = 18
    tape = [a2, *tape]
    for j in range(s):
        tape.append(e)
        e = add_product(e, e, e, beta=2.0)
        if skewed and j % _POLISH_EVERY == _POLISH_EVERY - 1 and j < s - 1:
            e = polish_change(e)
    if skewed and degree == 18:
        e = polish_change(e)
    return e, degree, tape


def _scaled(powers: tuple[Tensor, ...], exponents: tuple[int, ...], s: int) -> list[Tensor]:
    """The powers of `2^-s A`, in place except for A itself, which belongs to the caller."""
    if s == 0:
        return list(powers)
    a, *rest = powers
    for x, k in zip(rest, exponents[1:], strict=True):
        x.mul_(2.0 ** (-s * k))
    return [a * 2.0**-s, *rest]


_TAPE = {4: 2, 8: 4, 18: 6}  # tensors on the tape before the squarings


def pull_back(g: Tensor, a: Tensor, degree: int, tape: Sequence[Tensor], skewed: bool) -> Tensor:
    """The gradient of the argument, from the gradient of the value and the tape."""
    a2, *rest = tape
    split = _TAPE[degree] - 1
    rest, squarings = rest[:split], rest[split:]
    if squarings:
        a = a * 2.0 ** -len(squarings)
    for e in reversed(squarings):
        g = accumulate(add_product(g, adjoint(e), g, beta=2.0), g, adjoint(e))
    g = _ADJOINTS[degree](g, a, a2, rest, skewed)
    if squarings:
        g.mul_(2.0 ** -len(squarings))
    return skew(g) if skewed else g


def expm1_masked(a: Tensor, skewed: bool, squarings: int) -> Tensor:
    """`exp(a) - 1` with a fixed number of squarings, masked matrix by matrix on the device."""
    if skewed:  # so that the gradient is skew
        a = skew(a)
    high = _thresholds(a, skewed)[2]
    theta = one_norm(a.detach())
    s = torch.log2(theta / high).ceil().clamp(0, squarings)[..., None, None]
    a = a * torch.exp2(-s)
    a2 = a @ a
    a3 = a2 @ a
    eye = eye_like(a)
    powers = (a, a2, a3, a3 @ a3, eye)
    b1, b2, b3, b4, b5 = (_combination((*row[1:], row[0]), powers) for row in _B)
    a9 = b4 + b1 @ b5
    e = b2 + (b3 + a9) @ a9 - eye
    for j in range(squarings):
        e = torch.where(j < s, 2 * e + e @ e, e)
        if skewed and (j % _POLISH_EVERY == _POLISH_EVERY - 1 or j == squarings - 1):
            # In the backward pass the polish is the identity.
            e = e + (polish_change(e) - e).detach()
    return e
