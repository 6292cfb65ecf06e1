"""The rows of the affine-invariant metric of positive definite matrices.

Everything happens at the identity, in the coordinates of a Cholesky factor.

Source: Bhatia, Positive Definite Matrices, Princeton 2007, chapter 6.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import MetricRule, keep_coordinates
from torchmanifold.manifolds.linalg import cholesky, congruence, inner, sym, whiten

__all__ = ["AFFINE_INVARIANT"]


def _inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    factor = cholesky(x)
    return inner(whiten(factor, u), whiten(factor, v))


def _gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    return sym(x @ sym(egrad) @ x)


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return congruence(cholesky(x), sym(v))


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return whiten(cholesky(x), u)


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return sym(x @ sym(ehess) @ x + v @ sym(egrad) @ x)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    factor = cholesky(x)
    return congruence(factor, maps.spd_exp(whiten(factor, v)))


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    factor = cholesky(x)
    return congruence(factor, maps.spd_log(whiten(factor, y)))


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    ratios = torch.linalg.eigvalsh(whiten(cholesky(x), y))
    return torch.linalg.vector_norm(ratios.log(), dim=-1)


def _transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    # E w E' with E = (y x^-1)^(1/2) = L expm(A / 2) L^-1 and A = L^-1 v L^-T.
    factor = cholesky(x)
    root = maps.spd_exp(whiten(factor, v) / 2)
    return congruence(factor, root @ whiten(factor, w) @ root)


def _radius(M: Manifold, shape: tuple[int, ...]) -> float:
    return math.inf


AFFINE_INVARIANT = MetricRule(
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
