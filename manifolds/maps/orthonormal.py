"""Matrices to orthonormal columns: polar factor, QR, Newton-Schulz, Householder reflections.

The value and its derivative are kept apart. The factor `q` of a tall `z` is computed by
whatever is fastest and accurate for the argument, without a graph; its derivative depends on
`z` and `q` alone, in closed form, and is made of differentiable operations.

A Gram matrix squares the condition. It is formed in float32 only where it is near the identity
(`I + v'v` for a short tangent `v`); otherwise in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import (
    add_product,
    adjoint,
    eye_like,
    frobenius,
    in_working_precision,
    inverse,
    newton_schulz_step,
    sym,
)
from torchmanifold.manifolds.maps.batching import MatrixFunction, everywhere
from torchmanifold.manifolds.maps.domain import require_orthonormal
from torchmanifold.manifolds.maps.spectral import eigh, reads_values, solve_lyapunov, svd
from torchmanifold.manifolds.triangular import gram_excess, times_upper, upper_product

__all__ = [
    "QR",
    "Householder",
    "NewtonSchulz",
    "Polar",
    "householder",
    "newton_schulz",
    "polar",
    "polar_step",
    "qr",
    "qr_step",
]


_SVD = tuple[Tensor, Tensor, Tensor]  # q, singular values, right singular vectors
_Polar = _SVD | tuple[Tensor, None, None]
_QRFactors = tuple[Tensor, Tensor | None]  # q and r


class _PolarDerivative(MatrixFunction):
    """The polar factor `q` of `z = q h`, with its derivative in `z`.

    `factors` computes it of `z`, perhaps knowing that `z` is the sum of `x` and `v`; a factor
    that is None is left to the backward pass.

    With `C = q'G` and `X h + h X = C - C'`: `grad = (G - q C) h^-1 + q X`. Sums of the
    singular values stand in the denominators, never differences. `h = W diag(s) W'` is at hand.
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
        # A vanishing singular value has no direction to turn in.
        x = w @ (rotated / total.masked_fill(total == 0, torch.inf)) @ adjoint(w)
        if square:
            return q @ x, *none
        divided = (w / s.masked_fill(s == 0, torch.inf).unsqueeze(-2)) @ adjoint(w)
        return (grad - q @ c) @ divided + q @ x, *none


class _QRDerivative(MatrixFunction):
    """The orthonormal factor `q` of `z = q r` with positive diagonal, with its derivative in `z`.

    `factors` is as for the polar factor.
    With `P` the upper triangle of `q'G`, diagonal halved: `grad = (G - q (P + P')) r^-H`.
    """

    @staticmethod
    def forward(
        z: Tensor, factors: Callable[..., _QRFactors], x: Tensor | None, v: Tensor | None
    ) -> _QRFactors:
        return factors(z) if x is None else factors(z, x, v)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: _QRFactors) -> None:
        ctx.mark_non_differentiable(*(factor for factor in output[1:] if factor is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[0], *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        none = (None, None, None)
        if grad is None:
            return None, *none
        z, q, r = ctx.saved_tensors
        if r is None or torch.is_grad_enabled():
            r = (adjoint(q) @ z).triu()
        # A column that adds no direction to those before it has none to turn in.
        singular = r.diagonal(dim1=-2, dim2=-1) == 0
        r = r + torch.diag_embed(torch.where(singular, torch.inf, 0.0))
        c = up(adjoint(q) @ grad)
        inner = grad - q @ (c + adjoint(c))
        return torch.linalg.solve_triangular(adjoint(r), inner, upper=False, left=False), *none


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


def is_short(excess: Tensor) -> bool:
    """Is the condition of `I + excess`, a Gram matrix on the CPU, at most 3? Not if it is NaN.

    The spectral norm of the excess is bounded by its Frobenius norm, and better by that of its
    square.
    """
    norm = frobenius(excess)
    if bool((norm <= 2).all()):
        return True
    # Of p equal eigenvalues of 2 the norm is 2 sqrt(p).
    if not bool((norm <= 2 * excess.shape[-1] ** 0.5).all()):
        return False
    return bool((frobenius(excess @ excess) <= 4).all())


def is_long(v: Tensor) -> bool:
    """Is `v` a step so long that it wants float64, where that may be read and is to be had?"""
    single = v.dtype in (torch.float32, torch.complex64)
    return single and reads_values(v) and not everywhere(frobenius(v) <= 10)


def shortened(v: Tensor, longest: float) -> Tensor:
    """`v`, scaled down to a norm `||v'v||_F^(1/2)` of `longest` where it is longer.

    That norm is at least the spectral norm and at most the Frobenius norm, of which on the CPU a
    look is enough to see that most steps are short.
    """
    if reads_values(v) and everywhere(frobenius(v) <= longest):
        return v
    # Of what is divided by its largest entry the Gram matrix cannot overflow.
    scale = v.detach().abs().amax((-2, -1), keepdim=True).clamp_min(longest)
    unit = v / scale
    square = frobenius(adjoint(unit) @ unit)[..., None, None]
    long = square * scale**2 > longest**2
    # Where it is not long, a square root at zero would have no derivative.
    return torch.where(long, unit * longest / torch.where(long, square, 1.0).sqrt(), v)


def _svd_polar(z: Tensor) -> _SVD:
    u, s, vh = svd(z)
    return newton_schulz_step(u @ vh), s, adjoint(vh)


def _gram_polar(z: Tensor) -> _SVD:
    """Polar factor through the Gram matrix in the dtype of `z`."""
    values, w = eigh(adjoint(z) @ z)
    s = values.clamp_min(0).sqrt()
    return z @ ((w / s.unsqueeze(-2)) @ adjoint(w)), s, w


def _polar_factors(z: Tensor) -> _SVD:
    factors = None
    if z.dtype in (torch.float32, torch.complex64) and reads_values(z):
        # Float64 holds the Gram matrix of float32 columns to condition 1e5.
        factors = _gram_polar(wide(z))
        if not bool((factors[1][..., :1] > 1e-5 * factors[1][..., -1:]).all()):
            factors = _svd_polar(wide(z))
    q, s, w = factors or _svd_polar(z)
    return narrow(q, z.dtype), narrow(s, z.real.dtype), narrow(w, z.dtype)


@in_working_precision
def polar(z: Tensor) -> Tensor:
    """Orthonormal polar factor `Q` of `Z = Q H`: the nearest matrix with orthonormal columns.

    The derivative is finite for full-rank `Z`, also at equal singular values, where it is the
    tangent projection; differentiating an SVD divides by zero there.

    Args:
        z: `(*batch, n, p)`, `n >= p`, full rank. Without full rank the value is one of the
            nearest matrices.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import polar
        >>> polar(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])

    Source: Higham, Functions of Matrices (2008), chapter 8.
    """
    return _PolarDerivative.apply(z, _polar_factors, None, None)[0]


def _qr_factors(z: Tensor) -> _QRFactors:
    # The value does not depend on the scale, which alone could overflow a norm.
    scale = z.abs().amax((-2, -1), keepdim=True)
    scale = scale.masked_fill(scale < 1e15, 1)
    q, r = torch.linalg.qr(z / scale)
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    phase = torch.where(diagonal == 0, torch.ones_like(diagonal), diagonal.sgn())
    return q * phase.unsqueeze(-2), r * phase.conj().unsqueeze(-1) * scale


@in_working_precision
def qr(z: Tensor) -> Tensor:
    """Orthonormal factor `Q` of `Z = Q R` with positive diagonal of `R`.

    The positive diagonal makes the factor unique, hence smooth.

    Args:
        z: `(*batch, n, p)`, `n >= p`, full rank.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import qr
        >>> qr(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])

    Source: Walter, Lehmann and Lamour, On evaluating higher-order derivatives of the QR
    decomposition, Optim. Methods Softw. 27 (2012).
    """
    if z.numel() == 0:
        return z
    return _QRDerivative.apply(z, _qr_factors, None, None)[0]


def _largest(norms: Tensor) -> float:
    """The largest norm, as far as it matters: 1 is too long for any series, its powers are none."""
    return min(float(norms.amax()), 1.0) if norms.numel() > 0 else 0.0


def _may_be_left(z: Tensor) -> float:
    """The residual that may be left by a factor of `z`: a third of what its rounding is given."""
    return 3.5 * torch.finfo(z.dtype).eps * z.shape[-1] ** 0.5


def up(x: Tensor) -> Tensor:
    """The upper triangle, its diagonal halved."""
    upper = x.triu()
    upper.diagonal(dim1=-2, dim2=-1).mul_(0.5)
    return upper


def _minus_up(z: Tensor) -> Tensor:
    """`-up(x)` is the product of `x`, entry by entry, with this one matrix."""
    minus = torch.full(2 * z.shape[-1:], -1, dtype=z.dtype, device=z.device).triu_()
    minus.diagonal().fill_(-0.5)
    return minus


def near_qr_change(z: Tensor, excess: Tensor) -> tuple[Tensor | None, bool]:
    """`R^-1 - I` of `z = Q R` by products, where `z'z = I + excess` is near the identity.

    `R^-1 = I - U + (U^2 + up(U'U)) + O(U^3)` with `U = up(excess)`; and `U^2 + U'U` is the
    product `excess U`. As many terms are taken as are needed. The constants are those of rank
    one, the worst.

    Returns:
        The change, None if the excess is too large; and whether it is exact to rounding, or needs
        a second pass.
    """
    level = _may_be_left(z)
    minus = _minus_up(z)
    change = excess * minus  # -U
    if 0.75 * _largest(frobenius(excess)) ** 2 <= level:
        return change, True
    product = times_upper(excess, change)
    left = 1.8 * _largest(frobenius(product)) ** 1.5
    if not 0.75 * left**2 <= level:
        return None, False
    diagonal = change.diagonal(dim1=-2, dim2=-1)
    squares = diagonal.square()
    change.addcmul_(product, minus)
    diagonal.add_(squares, alpha=0.5)
    return change, left <= level


def refined_qr_change(change: Tensor, excess: Tensor) -> Tensor:
    """The second pass on `R^-1 - I`, in products of `p x p` matrices alone."""
    gram = times_upper(excess, change).add_(excess).add_(change)
    left = upper_product(change, gram).add_(gram).add_(adjoint(change))  # of R^-H (I + excess) R^-1
    second = left.mul_(_minus_up(left))
    return times_upper(change, second).add_(change).add_(second)


def _near_qr(z: Tensor, excess: Tensor) -> Tensor | None:
    """The QR factor of `z` by products, where `z'z = I + excess` is near the identity."""
    change, exact = near_qr_change(z, excess)
    if change is None:
        return None
    if not exact and z.shape[-2] >= 2 * z.shape[-1]:
        change, exact = refined_qr_change(change, excess), True
    y = times_upper(z, change).add_(z)
    if exact:
        return y
    return times_upper(y, gram_excess(y).mul_(_minus_up(z))).add_(y)


def _cholesky_qr(z: Tensor, gram: Tensor) -> Tensor:
    r = torch.linalg.cholesky_ex(gram, upper=True).L
    return torch.linalg.solve_triangular(r, z, upper=True, left=False)


def _qr_step_factors(z: Tensor, x: Tensor, v: Tensor) -> _QRFactors:
    if reads_values(v):
        excess = gram_excess(z)
        q = _near_qr(z, excess)
        if q is None and is_short(excess):
            q = _cholesky_qr(z, excess + eye_like(z))
        if q is not None:
            return q, None
    z = wide(x) + wide(v)
    q = _cholesky_qr(z, adjoint(z) @ z)
    # A second pass, where no digits were gained, or the step is known to be long.
    if z.dtype == v.dtype or reads_values(v):
        q = _cholesky_qr(q, adjoint(q) @ q)
    return narrow(q, v.dtype), None


@in_working_precision
def qr_step(x: Tensor, v: Tensor) -> Tensor:
    """Orthonormal QR factor of `X + V`, by products or by Cholesky-QR.

    For a tangent `V` the product `X'V` is skew, so the Gram matrix of `X + V` is `I + V'V`:
    near the identity for a short step, where a series of it, or one pass of Cholesky-QR in the
    working precision, is accurate. Long steps, and all steps on an accelerator, take Cholesky-QR
    of a Gram matrix in float64. It is formed of `X + V`, not of `V`, so that a step mends the
    rounding of those before it.

    Args:
        x: `(*batch, n, p)`, orthonormal columns.
        v: `(*batch, n, p)`, tangent at `x` (`x'v` skew).

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import qr_step
        >>> qr_step(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]]))
        tensor([[0.7071],
                [0.7071]])

    Source: Absil, Mahony and Sepulchre, Optimization Algorithms on Matrix Manifolds (2008),
    example 4.1.3; Yamamoto et al., Roundoff error analysis of the CholeskyQR2 algorithm,
    ETNA 44 (2015).
    """
    return _QRDerivative.apply(x + v, _qr_step_factors, x, v)[0]


def _near_polar(z: Tensor, excess: Tensor) -> Tensor | None:
    """The polar factor `z (I + excess)^(-1/2)` by products, where the excess is near zero.

    As many terms of the series are taken as are needed, then a second pass. The constants bound
    what is left.
    """
    level = _may_be_left(z)
    if 0.75 * _largest(frobenius(excess)) ** 2 <= level:
        return add_product(z, z, excess, alpha=-0.5)
    square = excess @ excess
    norm = _largest(frobenius(square))
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
            # The change (I + excess)^(-1/2) - I is small, and so is its rounding.
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

    For a tangent `V` the product `X'V` is skew, so the Gram matrix of `X + V` is `I + V'V`. Of
    short steps a series of it is taken, of others its eigenvalues, in float64 if they are long or
    on an accelerator. It is formed of `X + V`, not of `V`, so that a step mends the rounding of
    those before it.

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
    return _PolarDerivative.apply(x + v, _polar_step_factors, x, v)[0]


@in_working_precision
def newton_schulz(z: Tensor, steps: int = 1) -> Tensor:
    """Newton-Schulz steps `Y <- Y (3 I - Y'Y) / 2` towards the polar factor.

    With `e = ||Y'Y - I||`, one step leaves about `3 e^2 / 4`. Converges where the singular
    values lie between 0 and `sqrt(3)`; not the polar factor itself after finitely many steps.

    Args:
        z: `(*batch, n, p)`, `n >= p`, near orthonormal columns.
        steps: number of steps.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import newton_schulz
        >>> newton_schulz(torch.tensor([[1.1]]), steps=3)
        tensor([[1.0000]])

    Source: Higham, Functions of Matrices (2008), equation (8.20).
    """
    for _ in range(steps):
        z = newton_schulz_step(z)
    return z


@in_working_precision
def householder(z: Tensor, signs: Tensor | None = None) -> Tensor:
    """Product of `p` Householder reflections, first `p` columns.

    The columns `v_k` of the lower triangle of `z` are the normals, `H_k = I - 2 v v' / v'v`.
    The value does not change when a column is scaled, so weight decay does not move it. The
    product is `I - V S^-1 V'` with `S = diag(v'v) / 2 + triu(V'V, 1)`: products and one
    triangular solve.

    Args:
        z: `(*batch, n, p)`, `n >= p`, in the lower triangle; a zero column there reflects `e_k`.
        signs: `(*batch, p)`, multiplies the columns; ones by default.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import householder
        >>> householder(torch.tensor([[2.0], [0.0]])).abs()
        tensor([[1.],
                [0.]])

    Source: Likhosherstov et al., CWY parametrization (2020), arXiv:2004.08675, theorem 1.
    """
    if z.numel() == 0:
        return z
    v, p = z.tril(), z.shape[-1]
    # The value does not depend on the scale, which alone could over- or underflow the norm.
    scale = v.detach().abs().amax(-2, keepdim=True)
    zero = scale == 0
    eye = torch.eye(z.shape[-2], p, dtype=z.dtype, device=z.device)
    v = v / scale.masked_fill(zero, 1) + zero * eye
    v = v / torch.linalg.vector_norm(v, dim=-2, keepdim=True)
    s = (adjoint(v) @ v).triu(1) + eye_like(v) / 2
    q = -v @ torch.linalg.solve_triangular(s, adjoint(v[..., :p, :]), upper=True)
    q = q + eye
    return q if signs is None else q * signs.unsqueeze(-2)


class Polar(nn.Module):
    """Any full-rank tall matrix to the nearest one with orthonormal columns.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Polar
        >>> Polar()(2 * torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """`polar(z)`."""
        return polar(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if its columns are not orthonormal."""
        require_orthonormal(x, type(self).__name__)
        return x


class QR(nn.Module):
    """Any full-rank tall matrix to its orthonormal QR factor with positive diagonal.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import QR
        >>> QR()(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """`qr(z)`."""
        return qr(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if its columns are not orthonormal."""
        require_orthonormal(x, type(self).__name__)
        return x


class NewtonSchulz(nn.Module):
    """A matrix near orthonormal columns, moved nearer by Newton-Schulz steps.

    Args:
        steps: number of steps.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import NewtonSchulz
        >>> NewtonSchulz(steps=2)(torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    batched = True

    def __init__(self, steps: int = 1) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"NewtonSchulz: steps must be at least 1, got {steps}")
        self.steps = steps

    @property
    def config(self) -> tuple[int]:
        """What must agree for two of these maps to be evaluated together."""
        return (self.steps,)

    def forward(self, z: Tensor) -> Tensor:
        """`newton_schulz(z, steps)`."""
        return newton_schulz(z, self.steps)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if its columns are not orthonormal."""
        require_orthonormal(x, type(self).__name__)
        return x


@in_working_precision
def _normals(x: Tensor) -> tuple[Tensor, Tensor]:
    """Normals of the reflections whose product has the columns of `x` up to signs; the signs."""
    if x.is_meta:
        return torch.empty_like(x), x.new_empty((*x.shape[:-2], x.shape[-1]))
    packed, tau = torch.geqrf(x)
    diagonal = packed.diagonal(dim1=-2, dim2=-1)
    # LAPACK writes the identity as tau = 0; here e_k reflects, which the sign undoes.
    signs = torch.where(tau == 0, -diagonal, diagonal).sign()
    return packed.tril(-1) + torch.eye(*x.shape[-2:], dtype=x.dtype, device=x.device), signs


class Householder(nn.Module):
    """Orthonormal columns as a product of Householder reflections, immune to weight decay.

    The signs of the columns are fixed by the right inverse and kept in a buffer.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Householder
        >>> map = Householder()
        >>> x = torch.eye(3, 2)
        >>> bool((map(map.right_inverse(x)) - x).abs().max() < 1e-6)
        True
    """

    batched = True
    config: tuple[()] = ()
    signs: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("signs", None)

    def forward(self, z: Tensor) -> Tensor:
        """`householder(z, signs)`."""
        return householder(z, self.signs)

    def right_inverse(self, x: Tensor) -> Tensor:
        """Normals of the reflections that give `x`; sets the signs.

        Raises:
            ValueError: the columns of `x` are not orthonormal, or it is complex.
        """
        if x.is_complex():
            raise ValueError("Householder.right_inverse: real matrices only; use Polar or QR")
        require_orthonormal(x, type(self).__name__)
        normals, self.signs = _normals(x)
        return normals
