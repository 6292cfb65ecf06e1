"""The rows of the Bures-Wasserstein metric of positive definite matrices.

The metric is that of the quotient of the square factors `L` of `x = L L'` by rotations.

Source: Bhatia, Jain & Lim, Expositiones Mathematicae 37, 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import MetricRule, keep_coordinates
from torchmanifold.manifolds.linalg import cholesky, frobenius, inner, sym

__all__ = ["BURES_WASSERSTEIN"]


def _inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return inner(maps.solve_lyapunov(x, u), v) / 2


def _gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    return 4 * sym(sym(egrad) @ x)


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return 2 * sym(v @ cholesky(x).mH)


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return maps.solve_lyapunov(x, u) @ cholesky(x)


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    # The Hessian of f(L L') along the horizontal lift S L of v, without its vertical part.
    return 4 * sym((sym(ehess) + sym(egrad) @ maps.solve_lyapunov(x, v)) @ x)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    # (I + S) x (I + S) by a factor, because x + v + S x S could round to an indefinite matrix.
    factor = cholesky(x)
    moved = factor + maps.solve_lyapunov(x, v) @ factor
    return sym(moved @ moved.mH)


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    factor = cholesky(x)
    root = maps.spd_sqrt(sym(factor.mH @ y @ factor))
    # (x y)^(1/2) = L root L^-1
    product = torch.linalg.solve_triangular(factor, factor @ root, upper=False, left=False)
    return 2 * sym(product) - 2 * x


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    # min over rotations Q of ||L - N Q||_F, which has no cancellation as the trace formula has.
    left, right = cholesky(x), cholesky(y)
    return frobenius(left - right @ maps.polar(right.mH @ left))


BURES_WASSERSTEIN = MetricRule(
    inner=_inner,
    gradient=_gradient,
    coordinates=_coordinates,
    inverse_coordinates=_inverse_coordinates,
    hessian=_hessian,
    exp=_exp,
    log=_log,
    dist=_dist,
    carry=keep_coordinates,
)
