"""Matrix exponential in a handful of products, with an adjoint that reuses them.

Taylor polynomials of degree 4, 8 and 18 take 2, 3 and 5 products (Bader, Blanes, Casas 2019);
scaling and squaring follow. Everything has the form `E = exp(A) - I`: squaring becomes `2 E + E E`,
and rounding errors are relative to the change. The adjoint of each step reuses the products of the
forward pass. For a skew argument the gradient is skew too, which saves half of the products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    MatrixFunction,
    add_product,
    adjoint,
    eye_like,
    frobenius,
    in_working_precision,
    move,
    polish,
    reads_values,
    skew,
    wide,
)
from torchmanifold.manifolds.maps.cayley import inverse_cayley
from torchmanifold.manifolds.maps.polar import polar
from torchmanifold.manifolds.maps.scaling_squaring import (
    expm1_by_norm,
    expm1_masked,
    one_norm,
    pull_back,
)
from torchmanifold.manifolds.maps.spectral import spectral
from torchmanifold.manifolds.maps.steps import bounded_along, bounded_turn, is_long

__all__ = ["exp_step", "exp_thin", "expm", "expm1", "expm1_skew", "expm_skew", "log_orthogonal"]


class _Expm1(MatrixFunction):
    """`exp(A) - I`, with degree and scaling chosen from the norm (CPU); the degree; the tape."""

    @staticmethod
    def forward(a: Tensor, skewed: bool) -> tuple[Any, ...]:
        # A skew matrix from `Skew` is skew to the last bit, and its value is as exact and as cheap
        # as with the promise. Without the promise the gradient is taken in all entries.
        e, degree, tape = expm1_by_norm(a, skewed or torch.equal(a, -adjoint(a)))
        return e, degree, *tape

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        a, ctx.skewed = inputs
        _, ctx.degree, *tape = output
        ctx.mark_non_differentiable(*tape)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(a, *tape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None]:
        if grad is None:
            return None, None
        a, *tape = ctx.saved_tensors
        if torch.is_grad_enabled():
            # A second derivative is recorded: write the first one as an exponential.
            g = _directional(adjoint(a), grad)
            return (skew(g) if ctx.skewed else g), None
        return pull_back(grad, a, ctx.degree, tape, ctx.skewed), None


class _ExpStep(MatrixFunction):
    """`X exp(A)` with `A = skew(z)`; `A`, the change `exp(A) - I`, the degree, the tape."""

    @staticmethod
    def forward(x: Tensor, z: Tensor) -> tuple[Any, ...]:
        a = skew(z)
        e, degree, tape = expm1_by_norm(a, True)
        return move(x, e), degree, a, e, *tape

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        _, ctx.degree, *rest = output
        ctx.mark_non_differentiable(*rest)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *rest)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, None
        x, z, a, e, *tape = ctx.saved_tensors
        for_x, for_z = ctx.needs_input_grad
        again = torch.is_grad_enabled()
        if again:
            a = skew(z)
            e = _expm1(a, True) if for_x else e
        grad_x = add_product(grad, grad, adjoint(e)).sum_to_size(x.shape) if for_x else None
        if not for_z:
            return grad_x, None
        g = adjoint(x) @ grad
        if again:
            a, g = torch.broadcast_tensors(a, g)
            return grad_x, skew(_directional(adjoint(a), g)).sum_to_size(z.shape)
        return grad_x, pull_back(g, a, ctx.degree, tape, True).sum_to_size(z.shape)


def _directional(a: Tensor, e: Tensor) -> Tensor:
    """Derivative of the exponential at `a` along `e`: upper right of `exp([[a, e], [0, a]])`."""
    n = a.shape[-1]
    size = frobenius(e.detach())[..., None, None]
    size = size.masked_fill(size == 0, 1)  # the value is linear in e, so scaling e saves squarings
    top = torch.cat([a, e / size], -1)
    bottom = torch.cat([torch.zeros_like(a), a], -1)
    return _expm1(torch.cat([top, bottom], -2), False)[..., :n, n:] * size


def _expm1(a: Tensor, skewed: bool, squarings: int = 14) -> Tensor:
    if reads_values(a):
        return _Expm1.apply(a, skewed)[0]
    return expm1_masked(a, skewed, squarings)


@in_working_precision
def expm(a: Tensor) -> Tensor:
    """Matrix exponential `exp(A) = I + A + A^2/2 + ...`.

    On the CPU the norm determines degree and scaling. On an accelerator and while compiling the
    schedule is fixed, so nothing is read back.

    Args:
        a: `(*batch, n, n)`, real or complex.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import expm
        >>> expm(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[1., 1.],
                [0., 1.]])

    Source: Bader, Blanes and Casas, Computing the matrix exponential with an optimized Taylor
    polynomial approximation, Mathematics 7 (2019), 1174.
    """
    return _expm1(a, False) + eye_like(a)


@in_working_precision
def expm1(a: Tensor) -> Tensor:
    """`exp(A) - I`, to the relative precision of `A` when `A` is small.

    Args:
        a: `(*batch, n, n)`, real or complex.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import expm1
        >>> expm1(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[0., 1.],
                [0., 0.]])
    """
    return _expm1(a, False)


@in_working_precision
def expm_skew(a: Tensor, squarings: int = 14) -> Tensor:
    """Exponential of a skew matrix: a rotation (unitary for a skew-Hermitian argument).

    It takes fewer squarings than `expm`, because the 1-norm of powers bounds the spectral norm of a
    normal matrix more tightly. The adjoint takes half of the products, because the gradient is
    skew. Newton-Schulz steps keep the value orthogonal at large norm.

    Args:
        a: `(*batch, n, n)`, skew-symmetric. The gradient is its skew part: put `Skew` before.
        squarings: the number of squarings where the schedule is fixed (accelerators, compilation);
            the value is accurate for `||a||_1` up to `2^squarings`.

    Example:
        >>> import math, torch
        >>> from torchmanifold.manifolds.maps import expm_skew
        >>> expm_skew(torch.tensor([[0.0, -math.pi / 2], [math.pi / 2, 0.0]])).round().abs()
        tensor([[0., 1.],
                [1., 0.]])

    Source: Bader, Blanes and Casas, Computing the matrix exponential with an optimized Taylor
    polynomial approximation, Mathematics 7 (2019), 1174.
    """
    return _expm1(a, True, squarings) + eye_like(a)


@in_working_precision
def expm1_skew(a: Tensor, squarings: int = 14) -> Tensor:
    """`exp(A) - I` for skew `A`: the change that a retraction adds to its point.

    Args:
        a: `(*batch, n, n)`, skew-symmetric.
        squarings: as in `expm_skew`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import expm1_skew
        >>> expm1_skew(torch.zeros(1, 1))
        tensor([[0.]])
    """
    return _expm1(a, True, squarings)


@in_working_precision
def exp_step(x: Tensor, z: Tensor) -> Tensor:
    """`X exp(skew(Z))`: the geodesic of the rotations from `X` along `X skew(Z)`.

    The change `exp - I` is multiplied by `X` and added to it, because `X exp(A)` would round the
    identity in every step. The rounding error of `X` itself stays: a retraction ends in one
    Newton-Schulz step, which is left to the caller.

    Args:
        x: `(*batch, n, n)`, orthogonal.
        z: `(*batch, n, n)`, any matrix.

    Example:
        >>> import math, torch
        >>> from torchmanifold.manifolds.maps import exp_step
        >>> exp_step(torch.eye(2), torch.tensor([[0.0, -math.pi], [0.0, 0.0]])).round().abs()
        tensor([[0., 1.],
                [1., 0.]])
    """
    z = bounded_turn(z)
    if reads_values(z):
        return _ExpStep.apply(x, z)[0]
    return x + x @ _expm1(skew(z), True)


@in_working_precision
def log_orthogonal(q: Tensor) -> Tensor:
    """Principal logarithm of a rotation: the skew `A` with `exp(A) = Q` and angles below pi.

    The square root of an orthogonal matrix is the polar factor of `I + Q`. Its inverse Cayley
    transform is `2 tan(A/4)`, a matrix that is never large, and the arc tangent of this matrix is
    a function of a Hermitian matrix. The logarithm exists if `Q` has no eigenvalue -1.

    Args:
        q: `(*batch, n, n)`, orthogonal or unitary.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import log_orthogonal
        >>> log_orthogonal(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
        tensor([[ 0.0000,  1.5708],
                [-1.5708,  0.0000]])

    Source: Higham, Functions of Matrices (2008), chapter 11 and section 8.1.
    """
    root = polar(eye_like(q) + q)
    hermitian = inverse_cayley(root) * 1j
    angles = spectral(hermitian, lambda x: 4 * torch.atan(x / 2), lambda x: 2 / (1 + x * x / 4))
    return skew((angles * -1j) if q.is_complex() else angles.imag)


@in_working_precision
def exp_thin(x: Tensor, v: Tensor) -> Tensor:
    """Canonical Stiefel geodesic through one `2p x 2p` exponential.

    With `S = skew(X'V)`, `K = V - X X'V`, `H = K'K`: `Y = [X K] exp([[S, -H], [I, 0]]) [I; 0]`.
    The blocks are balanced by the size of `K`, and the change is added to the point. A
    retraction ends in one Newton-Schulz step, which is left to the caller.

    Args:
        x: `(*batch, n, p)`, orthonormal columns.
        v: `(*batch, n, p)`, tangent at `x`.

    Example:
        >>> import math, torch
        >>> from torchmanifold.manifolds.maps import exp_thin
        >>> exp_thin(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [math.pi]])).round()
        tensor([[-1.],
                [-0.]])

    Source: Edelman, Arias and Smith, The geometry of algorithms with orthogonality constraints,
    SIAM J. Matrix Anal. Appl. 20 (1998), corollary 2.2, without its QR decomposition.
    """
    v = bounded_along(x, v)
    if is_long(v):
        # The point is orthonormal to float32 only, and a long step enlarges its residual.
        return _thin(polish(wide(x)), wide(v)).to(x.dtype)
    return _thin(x, v)


def _thin(x: Tensor, v: Tensor) -> Tensor:
    p = x.shape[-1]
    overlap = adjoint(x) @ v
    normal = v - x @ overlap
    square = adjoint(normal) @ normal
    # The value does not depend on the balance c, so neither does the derivative.
    c = one_norm(square.detach()).sqrt()[..., None, None]
    c = c.masked_fill(c == 0, 1)
    top = torch.cat([skew(overlap), -square / c], -1)
    eye = (c * eye_like(x)).expand_as(overlap)
    bottom = torch.cat([eye, torch.zeros_like(overlap)], -1)
    change = _expm1(torch.cat([top, bottom], -2), False)[..., :p]
    return x + (x @ change[..., :p, :] + (normal / c) @ change[..., p:, :])
