"""Polar factor of any matrix, and of a step from orthonormal columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    MatrixFunction,
    add_product,
    adjoint,
    determinant_sign,
    eigh,
    frobenius,
    gram_excess,
    in_working_precision,
    inverse,
    narrow,
    newton_schulz_step,
    reads_values,
    svd,
    sym,
    wide,
)
from torchmanifold.manifolds.maps.lyapunov import solve_lyapunov
from torchmanifold.manifolds.maps.steps import allowed_residual, bounded, is_short, largest_norm

__all__ = ["nearest_rotation", "polar", "polar_step"]


_SVD = tuple[Tensor, Tensor, Tensor]  # q, singular values, right singular vectors


_Polar = _SVD | tuple[Tensor, None, None]


class _PolarDerivative(MatrixFunction):
    """The polar factor `q` of `z = q h`, with its derivative in `z`.

    `factors` computes it from `z`, and may use that `z` is the sum of `x` and `v`. The backward
    pass computes a factor that is None.

    With `C = q'G` and `X h + h X = C - C'`: `grad = (G - q C) h^-1 + q X`. The denominators are
    sums of singular values, never differences. The factors include `h = W diag(s) W'`.
    """

    @staticmethod
    def forward(
        z: Tensor, factors: Callable[..., _Polar], x: Tensor | None, v: Tensor | None
    ) -> _Polar:
        return factors(z) if x is None else factors(z, x, v)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: _Polar) -> None:
        ctx.mark_non_differentiable(*(factor for factor in output[1:] if factor is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[0], *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        none = (None, None, None)
        if grad is None:
            return None, *none
        z, q, s, w = ctx.saved_tensors
        c = adjoint(q) @ grad
        square = z.shape[-1] == z.shape[-2]  # no normal space
        if torch.is_grad_enabled():
            h = sym(adjoint(q) @ z)
            g = q @ solve_lyapunov(h, c - adjoint(c))
            if not square:
                g = g + (grad - q @ c) @ inverse(h)
            return g, *none
        if s is None:
            s, w = eigh(sym(adjoint(q) @ z))
        total = s.unsqueeze(-1) + s.unsqueeze(-2)
        rotated = adjoint(w) @ (c - adjoint(c)) @ w
        # The direction of a vanishing singular value is arbitrary, so it has no derivative.
        x = w @ (rotated / total.masked_fill(total == 0, torch.inf)) @ adjoint(w)
        if square:
            return q @ x, *none
        divided = (w / s.masked_fill(s == 0, torch.inf).unsqueeze(-2)) @ adjoint(w)
        return (grad - q @ c) @ divided + q @ x, *none


def _svd_polar(z: Tensor) -> _SVD:
    u, s, vh = svd(z)
    return newton_schulz_step(u @ vh), s, adjoint(vh)


def _gram_polar(z: Tensor) -> _SVD:
    """Polar factor by way of the Gram matrix, in the dtype of `z`."""
    values, w = eigh(adjoint(z) @ z)
    s = values.clamp_min(0).sqrt()
    return z @ ((w / s.unsqueeze(-2)) @ adjoint(w)), s, w


def _polar_factors(z: Tensor) -> _SVD:
    factors = None
    if z.dtype in (torch.float32, torch.complex64) and reads_values(z):
        # Float64 suffices for the Gram matrix of float32 columns up to a condition number of 1e5.
        factors = _gram_polar(wide(z))
        if not bool((factors[1][..., :1] > 1e-5 * factors[1][..., -1:]).all()):
            factors = _svd_polar(wide(z))
    q, s, w = factors or _svd_polar(z)
    return narrow(q, z.dtype), narrow(s, z.real.dtype), narrow(w, z.dtype)


@in_working_precision
def polar(z: Tensor) -> Tensor:
    """Orthonormal polar factor `Q` of `Z = Q H`: the nearest matrix with orthonormal columns.

    The derivative is finite for full-rank `Z`, also at equal singular values, where it is the
    tangent projection. Differentiating an SVD would divide by zero there.

    Args:
        z: `(*batch, n, p)`, `n >= p`, of full rank. If the rank is smaller, the value is one of
            several nearest matrices.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import polar
        >>> polar(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])

    Source: Higham, Functions of Matrices (2008), chapter 8.
    """
    return _PolarDerivative.apply(z, _polar_factors, None, None)[0]


def _rotation_factors(z: Tensor) -> _SVD:
    u, s, vh = svd(wide(z))
    sign = determinant_sign(u @ vh)
    # If the determinant is negative, the direction of the least singular value changes its sign.
    signs = torch.ones_like(s)
    signs[..., -1:] = sign.real[..., None] if s.shape[-1] else signs[..., -1:]
    q = newton_schulz_step((u * signs.unsqueeze(-2)) @ vh)
    return narrow(q, z.dtype), narrow(s * signs, z.real.dtype), narrow(adjoint(vh), z.dtype)


@in_working_precision
def nearest_rotation(z: Tensor) -> Tensor:
    """The nearest matrix with orthonormal columns and determinant 1.

    It is the polar factor. If the determinant is negative, the direction of the least singular
    value changes its sign. The derivative is infinite only where the nearest rotation is not
    unique.

    Args:
        z: `(*batch, n, n)`, real.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import nearest_rotation
        >>> nearest_rotation(torch.diag(torch.tensor([3.0, 1.0, -0.5])))
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])

    Source: Kabsch 1976; Umeyama, IEEE Trans. Pattern Anal. Mach. Intell. 13, 1991.
    """
    return _PolarDerivative.apply(z, _rotation_factors, None, None)[0]


def _near_polar(z: Tensor, excess: Tensor) -> Tensor | None:
    """The polar factor `z (I + excess)^(-1/2)` by products, for an excess near zero.

    The size of the excess decides how many terms of the series are taken. A second pass follows.
    The constants bound the remainders.
    """
    level = allowed_residual(z)
    if 0.75 * largest_norm(frobenius(excess)) ** 2 <= level:
        return add_product(z, z, excess, alpha=-0.5)
    square = excess @ excess
    norm = largest_norm(frobenius(square))
    left = 0.63 * norm**1.5
    change = 0.375 * square
    if left > level:
        left = 0.55 * norm**2
        change = add_product(change, square, excess, alpha=-0.3125)
    if not 0.75 * left**2 <= level:
        return None
    y = add_product(z, z, change.sub_(excess, alpha=0.5))
    return y if left <= level else newton_schulz_step(y)


def _polar_step_factors(z: Tensor, x: Tensor, v: Tensor) -> _Polar:
    if reads_values(v):
        excess = gram_excess(z)
        q = _near_polar(z, excess)
        if q is not None:
            return q, None, None
        if is_short(excess):
            # The change (I + excess)^(-1/2) - I is small, and so is its rounding error.
            values, w = eigh(excess)
            change = torch.expm1(torch.log1p(values) / -2)
            return z + z @ ((w * change.unsqueeze(-2)) @ adjoint(w)), (1 + values).sqrt(), w
    q, s, w = _gram_polar(wide(x) + wide(v))
    if q.dtype == v.dtype or reads_values(v):  # as for QR
        q = newton_schulz_step(q)
    return narrow(q, v.dtype), narrow(s, v.real.dtype), narrow(w, v.dtype)


@in_working_precision
def polar_step(x: Tensor, v: Tensor) -> Tensor:
    """Polar factor of `X + V`, `(X + V)(I + V'V)^(-1/2)`: the projection of `X + V`.

    For a tangent `V` the product `X'V` is skew, so the Gram matrix of `X + V` is `I + V'V`. Short
    steps use a series in the Gram matrix. Other steps use its eigenvalues, in float64 if they are
    long or on an accelerator. The Gram matrix is formed from `X + V`, not from `V`, so a step
    corrects the rounding errors of earlier steps.

    Args:
        x: `(*batch, n, p)`, orthonormal columns.
        v: `(*batch, n, p)`, tangent at `x` (`x'v` skew).

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import polar_step
        >>> polar_step(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]]))
        tensor([[0.7071],
                [0.7071]])

    Source: Absil, Mahony and Sepulchre, Optimization Algorithms on Matrix Manifolds (2008),
    example 4.1.3.
    """
    v = bounded(v)
    return _PolarDerivative.apply(x + v, _polar_step_factors, x, v)[0]
