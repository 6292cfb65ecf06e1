"""The rows of the log-Cholesky metric of positive definite matrices.

The space is flat: its coordinates are the entries of the Cholesky factor, with the logarithms of
the diagonal. There is no eigendecomposition, so derivatives are finite at repeated eigenvalues too.

Source: Lin, Riemannian geometry of symmetric positive definite matrices via Cholesky
decomposition, SIAM J. Matrix Anal. Appl. 40, 2019, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import MetricRule, keep_coordinates
from torchmanifold.manifolds.linalg import cholesky, frobenius, inner, sym, whiten

__all__ = ["LOG_CHOLESKY"]


def _diagonal(x: Tensor) -> Tensor:
    """The diagonal as a row, `(*batch, 1, n)`; the diagonal of a Hermitian matrix is real."""
    d = x.diagonal(dim1=-2, dim2=-1)
    return (d.real.to(d.dtype) if d.is_complex() else d).unsqueeze(-2)


def _with_diagonal(below: Tensor, d: Tensor) -> Tensor:
    """The part of a matrix strictly below its diagonal, with `d` on the diagonal."""
    return below.tril(-1) + torch.diag_embed(d.squeeze(-2))


def _chart(factor: Tensor, u: Tensor) -> Tensor:
    """The derivative of the chart along `u`: lower triangular."""
    white = whiten(factor, u)
    change = factor @ _with_diagonal(white, _diagonal(white) / 2)
    return _with_diagonal(change, _diagonal(change) / _diagonal(factor))


def _from_chart(factor: Tensor, v: Tensor) -> Tensor:
    """The tangent vector whose image in the chart is the lower part of `v`."""
    change = _with_diagonal(v, _diagonal(v) * _diagonal(factor))
    return 2 * sym(change @ factor.mH)


def _pull(factor: Tensor, a: Tensor) -> Tensor:
    """The adjoint of `_from_chart` at a gradient `g`, given `a = 2 sym(g) L`."""
    return _with_diagonal(a, _diagonal(a) * _diagonal(factor))


def _difference(left: Tensor, right: Tensor) -> Tensor:
    """The chart at the factor `right` minus the chart at `left`."""
    d = _diagonal(left)
    step = (_diagonal(right) - d) / d
    # log1p keeps the digits of a short step, and the quotient keeps those of a long step downwards.
    small = step.abs() < 0.5
    ratio = torch.where(small, 2.0, _diagonal(right) / d)
    return _with_diagonal(
        right - left, torch.where(small, torch.where(small, step, 0.0).log1p(), ratio.log())
    )


def _inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    factor = cholesky(x)
    return inner(_chart(factor, u), _chart(factor, v))


def _gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    factor = cholesky(x)
    return _from_chart(factor, _pull(factor, 2 * sym(egrad) @ factor))


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return _from_chart(cholesky(x), v)


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return _chart(cholesky(x), u)


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    factor = cholesky(x)
    d, step = _diagonal(factor), _chart(factor, v)
    change = _with_diagonal(step, _diagonal(step) * d)
    a = 2 * sym(egrad) @ factor
    c = 2 * (sym(ehess) @ factor + sym(egrad) @ change)
    second = _with_diagonal(c, _diagonal(c) * d + _diagonal(a) * _diagonal(change))
    return _from_chart(factor, second)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    factor = cholesky(x)
    step = _chart(factor, v)
    moved = _with_diagonal(factor + step, _diagonal(factor) * _diagonal(step).exp())
    return sym(moved @ moved.mH)


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    factor = cholesky(x)
    return _from_chart(factor, _difference(factor, cholesky(y)))


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return frobenius(_difference(cholesky(x), cholesky(y)))


def _transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return keep_coordinates(M, x, _exp(M, x, v), w)


def _radius(M: Manifold, shape: tuple[int, ...]) -> float:
    return math.inf


LOG_CHOLESKY = MetricRule(
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
