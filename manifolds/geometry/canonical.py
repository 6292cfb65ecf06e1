"""The canonical metric of matrices with orthonormal columns: `tr(u'(I - x x'/2) v)`.

Source: Edelman, Arias & Smith, The geometry of algorithms with orthogonality constraints, SIAM J.
Matrix Anal. Appl. 20, 1998, section 2.4.
"""

from __future__ import annotations

from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.linalg import inner, polish, skew, sym

__all__ = ["canonical_cayley", "canonical_exp", "canonical_hessian", "canonical_inner", "stretched"]


def canonical_inner(M: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`tr(u'(I - x x'/2) v)`."""
    return inner(u, v) - inner(x.mH @ u, x.mH @ v) / 2


def stretched(x: Tensor, t: Tensor, scale: float) -> Tensor:
    """Multiply the part of the tangent vector `t` that lies in the span of `x` by `scale`."""
    return t + (scale - 1) * (x @ skew(x.mH @ t))


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
