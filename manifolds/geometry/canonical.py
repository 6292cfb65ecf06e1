"""The canonical metric of matrices with orthonormal columns: `tr(u'(I - x x'/2) v)`.

Source: Edelman, Arias & Smith, The geometry of algorithms with orthogonality constraints, SIAM J.
Matrix Anal. Appl. 20, 1998, section 2.4.
"""

from __future__ import annotations

import math

from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.linalg import inner, polish, skew, sym

__all__ = [
    "canonical_cayley",
    "canonical_coordinates",
    "canonical_exp",
    "canonical_gradient",
    "canonical_hessian",
    "canonical_inner",
    "canonical_inverse_coordinates",
]


def canonical_inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`tr(u'(I - x x'/2) v)`."""
    return inner(u, v) - inner(x.mH @ u, x.mH @ v) / 2


def _stretched(x: Tensor, t: Tensor, scale: float) -> Tensor:
    """Multiply the part of the tangent vector `t` that lies in the span of `x` by `scale`."""
    return t + (scale - 1) * (x @ skew(x.mH @ t))


def canonical_gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    """`g - x g'x`, tangent to rounding (Edelman, Arias & Smith 1998, eq. (2.53))."""
    return _stretched(x, M.tangent(x, egrad), 2.0)


def canonical_coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The tangent vector with coordinates `v`."""
    return _stretched(x, M.tangent(x, v), math.sqrt(2))


def canonical_inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    """Coordinates of the tangent vector `u`."""
    return _stretched(x, M.tangent(x, u), 1 / math.sqrt(2))


def canonical_hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    """The Hessian of the canonical metric (Edelman, Arias & Smith 1998, section 2.4)."""
    # The derivative of `g - x g'x`, and the Christoffel term of Edelman, Arias & Smith 1998,
    # eq. (2.49), of the gradient and `v`.
    g = egrad - x @ (egrad.mH @ x)
    across = v.mH @ (g - x @ (x.mH @ g))
    derivative = ehess - v @ (egrad.mH @ x) - x @ (ehess.mH @ x + egrad.mH @ v)
    return derivative + (v @ (g.mH @ x) + g @ (v.mH @ x)) / 2 + x @ sym(across)


def canonical_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The geodesic of the canonical metric."""
    # This is a group action, so one Newton-Schulz step is part of its definition.
    return polish(maps.exp_thin(x, v))


def canonical_cayley(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """The Cayley transform of the generator of `v`."""
    return polish(maps.cayley_thin(x, v))
