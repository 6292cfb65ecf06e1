"""Correlation matrices of full rank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    EuclideanCholesky,
    Exp,
    Manifold,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
    guarded,
    is_complex,
    keep_coordinates,
    lifted,
    require_square,
)
from torchmanifold.manifolds.linalg import (
    cholesky,
    eigh,
    eye_like,
    frobenius,
    in_working_precision,
    inner,
    relative,
    sym,
    whiten,
)

__all__ = ["Correlation"]

# The names are those of the source: with C = L L' and D the diagonal of L, the chart is
# Theta = D^-1 L, unit lower triangular. The rows of L have norm 1, so D has the inverses of the
# norms of the rows of Theta.


def _diagonal(x: Tensor) -> Tensor:
    """The diagonal as a column, real, `(*batch, n, 1)`."""
    d = x.diagonal(dim1=-2, dim2=-1)
    return (d.real if d.is_complex() else d).unsqueeze(-1)


def _rows(u: Tensor, v: Tensor) -> Tensor:
    product = (u.conj() * v).sum(-1, keepdim=True)
    return product.real if product.is_complex() else product


def _hollow(x: Tensor) -> Tensor:
    """The symmetric part of `x` with a diagonal of zeros."""
    s = sym(x)
    return s.tril(-1) + s.triu(1)


def _chart(factor: Tensor) -> Tensor:
    return (factor / _diagonal(factor)).tril(-1)


def _point(theta: Tensor) -> Tensor:
    """The correlation matrix of a strictly lower triangular `theta`."""
    theta = theta + eye_like(theta)
    factor = theta / torch.linalg.vector_norm(theta, dim=-1, keepdim=True)
    return _hollow(factor @ factor.mH) + eye_like(factor)


def _d_chart(factor: Tensor, u: Tensor) -> Tensor:
    white, d = whiten(factor, u), _diagonal(factor)
    change = factor @ (white.tril(-1) + torch.diag_embed(_diagonal(white).squeeze(-1) / 2))
    return ((change - factor / d * _diagonal(change)) / d).tril(-1)


def _d_factor(factor: Tensor, v: Tensor) -> Tensor:
    """The change of the factor, if the chart changes by the strict lower part of `v`."""
    v = v.tril(-1)
    return _diagonal(factor) * (v - factor * _rows(factor, v))


def _from_chart(factor: Tensor, v: Tensor) -> Tensor:
    return 2 * _hollow(_d_factor(factor, v) @ factor.mH)


def _pull(factor: Tensor, egrad: Tensor) -> Tensor:
    """The adjoint of `_from_chart`: the gradient in the chart."""
    a = 2 * _hollow(egrad) @ factor
    return (_diagonal(factor) * (a - factor * _rows(factor, a))).tril(-1)


def _inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    factor = cholesky(x)
    return inner(_d_chart(factor, u), _d_chart(factor, v))


def _gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    factor = cholesky(x)
    return _from_chart(factor, _pull(factor, egrad))


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return _from_chart(cholesky(x), v)


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return _d_chart(cholesky(x), u)


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    # The derivative along v of the gradient in the chart.
    factor = cholesky(x)
    change, d = _d_factor(factor, _d_chart(factor, v)), _diagonal(factor)
    a = 2 * _hollow(egrad) @ factor
    da = 2 * (_hollow(ehess) @ factor + _hollow(egrad) @ change)
    radial = _rows(factor, a)
    second = _diagonal(change) * (a - factor * radial) + d * (
        da - change * radial - factor * (_rows(change, a) + _rows(factor, da))
    )
    return _from_chart(factor, second)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    factor = cholesky(x)
    return _point(_chart(factor) + _d_chart(factor, v))


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    factor = cholesky(x)
    return _from_chart(factor, _chart(cholesky(y)) - _chart(factor))


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return frobenius(_chart(cholesky(y)) - _chart(cholesky(x)))


def _transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return keep_coordinates(M, x, _exp(M, x, v), w)


def _radius(M: Manifold, shape: tuple[int, ...]) -> float:
    return math.inf


@dataclass(frozen=True)
class Correlation(Manifold):
    r"""Correlation matrices of full rank: positive definite, unit diagonal, `(*batch, n, n)`.

    Tangent vectors are symmetric with a diagonal of zeros. The Euclidean-Cholesky metric makes the
    set a flat space: `Theta = D^-1 L`, with `C = L L'` and `D` the diagonal of `L`, is any unit
    lower triangular matrix. So geodesics never end, means are closed formulas, and the diagonal is
    1 to the last bit. The metric depends on the order of the variables.

    `project` gives the symmetric part a unit diagonal and lifts its eigenvalues as
    `SymmetricPositiveDefinite()` does. It then divides rows and columns by the roots of the
    diagonal. If an eigenvalue was lifted, the result is near the nearest correlation matrix and not
    equal to it; the nearest one takes an iteration (Higham 2002). The residual is `||diag C - 1||`
    plus the distance to the positive semidefinite matrices, relative to `||C||_F`. `Elliptope()`
    has the smaller ranks.

    Source: Thanwerdas & Pennec, Theoretically and computationally convenient geometries on
    full-rank correlation matrices, SIAM J. Matrix Anal. Appl. 43, 2022, section 4.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Correlation()
        >>> x, y = torch.eye(2), torch.tensor([[1.0, 0.6], [0.6, 1.0]])
        >>> M.dist(x, y)
        tensor(0.7500)
    """

    metric: Metric = EuclideanCholesky()
    retraction: Retraction = Exp()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanCholesky: MetricRule(
            inner=_inner,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            hessian=_hessian,
            exp=_exp,
            log=_log,
            dist=_dist,
            carry=keep_coordinates,
            parallel_transport=_transport,
            injectivity_radius=_radius,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(_exp, {EuclideanCholesky: 2}, _log)
    }

    def residual(self, x: Tensor) -> Tensor:
        """`||diag x - 1||`, plus the distance to the semidefinite matrices over `||x||_F`."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        diagonal = torch.linalg.vector_norm(wide.diagonal(dim1=-2, dim2=-1) - 1, dim=-1)
        return diagonal + relative(wide - lifted(wide, 0.0), x)

    def project(self, z: Tensor) -> Tensor:
        """A correlation matrix near `z`, and `z` itself, to rounding, if it is one.

        Raises:
            TypeError: in half precision, whose rounding makes matrices indefinite.
        """
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        if z.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"Correlation: {z.dtype} has too few digits to keep a matrix positive definite; "
                f"use float32"
            )
        eps = torch.finfo(z.dtype).eps
        s = lifted(_hollow(z) + eye_like(z), eps)
        root = _diagonal(s).sqrt()
        off = _hollow(s / root / root.mT)
        # The division may lower the least eigenvalue; a convex combination with I lifts it again.
        values = eigh(off)[0] + 1
        lift = (20 * z.shape[-1] * eps * values[..., -1] - values[..., 0]).clamp_min(0)
        return off * (1 - lift)[..., None, None] + eye_like(s)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """The symmetric part of `z`, with a diagonal of zeros."""
        return _hollow(z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Normal entries of variance `1/n` in the flat chart."""
        return _point(z.tril(-1) / max(z.shape[-1], 1) ** 0.5)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square("Correlation", shape)

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (n - 1) / 2`, and twice as many for complex matrices."""
        self.check_shape(shape)
        n = shape[-1]
        return n * (n - 1) // 2 * (2 if is_complex(dtype) else 1)
