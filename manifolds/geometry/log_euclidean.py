"""The rows of the log-Euclidean metric of positive definite matrices.

The matrix logarithm maps the manifold to a flat space.

Source: Arsigny et al., SIAM J. Matrix Anal. Appl. 29, 2007.
"""

from __future__ import annotations

import math

from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import MetricRule, keep_coordinates
from torchmanifold.manifolds.linalg import frobenius, inner, sym

__all__ = ["LOG_EUCLIDEAN"]


def _inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return inner(maps.d_log(x, u), maps.d_log(x, v))


def _gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    s = maps.spd_log(x)
    return maps.d_exp(s, maps.d_exp(s, sym(egrad)))


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return maps.d_exp(maps.spd_log(x), sym(v))


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return maps.d_log(x, u)


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    # The second derivative of f(expm(s)) along d log(v), mapped back.
    s, g = maps.spd_log(x), sym(egrad)
    second = maps.d_exp(s, sym(ehess)) + maps.d2_exp(s, maps.d_log(x, v), g)
    return maps.d_exp(s, second)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return sym(maps.spd_exp(maps.spd_log(x) + maps.d_log(x, v)))


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    s = maps.spd_log(x)
    return maps.d_exp(s, maps.spd_log(y) - s)


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return frobenius(maps.spd_log(y) - maps.spd_log(x))


def _transport(M: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return keep_coordinates(M, x, _exp(M, x, v), w)


def _radius(M: Manifold, shape: tuple[int, ...]) -> float:
    return math.inf


LOG_EUCLIDEAN = MetricRule(
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
