"""Checks of the arguments of right inverses; an error names the map, the fault and the remedy.

On the meta device there are no values, and only shapes are checked. Comparisons are made in
float32 at least, with a tolerance for rounding to the dtype of the argument.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    HALF,
    determinant_sign,
    eye_like,
    gram_residual,
    single,
    skew,
    sym,
)

__all__ = [
    "largest",
    "require_finite",
    "require_matrix",
    "require_orthonormal",
    "require_part",
    "require_positive_definite",
    "require_real",
    "require_rotation",
    "require_skew",
    "require_square",
    "require_symmetric",
    "slack",
]


def slack(x: Tensor) -> float:
    """Relative error that a value may have: that of a long computation in its dtype.

    A half-precision value is assumed to be computed in float32 and rounded once.
    """
    return (8 if x.dtype in HALF else 1000) * torch.finfo(x.dtype).eps


def largest(x: Tensor) -> float:
    """The largest absolute value; 0 if there is none."""
    return float(x.detach().abs().amax()) if x.numel() else 0.0


def require_matrix(x: Tensor, name: str) -> None:
    """Raise ValueError for a vector or a number."""
    if x.ndim < 2:
        raise ValueError(f"{name}: expected a matrix (*, n, p), got the shape {tuple(x.shape)}")


def require_finite(x: Tensor, name: str) -> None:
    """Raise ValueError for NaN and infinity."""
    if not x.is_meta and not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name}.right_inverse: the value has entries that are not finite")


def require_real(x: Tensor, name: str) -> None:
    """Raise ValueError for complex numbers."""
    if x.is_complex():
        raise ValueError(f"{name}.right_inverse: real matrices only, got {x.dtype}")


def require_square(x: Tensor, name: str) -> None:
    """Raise ValueError unless `x` is square and finite."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{name}.right_inverse: expected (*, n, n), got shape {tuple(x.shape)}")
    require_finite(x, name)


def require_part(x: Tensor, part: Tensor, name: str, word: str) -> None:
    """Raise ValueError unless `x` is its own `word` part."""
    if x.is_meta:
        return
    off = largest(single(x) - part)
    if not off <= slack(x) / 10 * largest(x):
        raise ValueError(
            f"{name}.right_inverse: the matrix is not {word}: its distance from its {word} part "
            f"is {off:.3g}; take the {word} part first"
        )


def require_symmetric(x: Tensor, name: str) -> None:
    """Raise ValueError unless `x` is square, finite and symmetric (Hermitian)."""
    require_square(x, name)
    require_part(x, sym(single(x)), name, "symmetric")


def require_skew(x: Tensor, name: str) -> None:
    """Raise ValueError unless `x` is square, finite and skew (skew-Hermitian)."""
    require_square(x, name)
    require_part(x, skew(single(x)), name, "skew")


def require_positive_definite(p: Tensor, name: str) -> None:
    """Raise ValueError unless `p` is symmetric with positive eigenvalues."""
    require_symmetric(p, name)
    if p.is_meta or p.numel() == 0:
        return
    least = float(torch.linalg.eigvalsh(single(p))[..., 0].amin())
    if not least > 0:
        raise ValueError(
            f"{name}.right_inverse: the matrix is not positive definite: its least eigenvalue is "
            f"{least:.3g}; take tm.SymmetricPositiveDefinite().project(p) first"
        )


def require_orthonormal(x: Tensor, name: str) -> None:
    """Raise ValueError unless `x` is tall with orthonormal columns."""
    if x.ndim < 2 or x.shape[-2] < x.shape[-1]:
        raise ValueError(
            f"{name}.right_inverse: expected (*, n, p) with n >= p, got shape {tuple(x.shape)}; "
            "transpose a wide matrix"
        )
    require_finite(x, name)
    if x.is_meta:
        return
    residual = largest(gram_residual(x))
    if not residual <= slack(x) * x.shape[-1] ** 0.5:
        raise ValueError(
            f"{name}.right_inverse: the columns are not orthonormal: ||x'x - I|| is "
            f"{residual:.3g}; take torchmanifold.maps.polar(x) first"
        )


def require_rotation(q: Tensor, name: str) -> None:
    """Raise ValueError unless `q` is orthogonal without eigenvalue -1."""
    require_square(q, name)
    if q.is_meta or q.numel() == 0:
        return
    residual = largest(gram_residual(q))
    if not residual <= slack(q) * q.shape[-1] ** 0.5:
        raise ValueError(
            f"{name}.right_inverse: the matrix is not orthogonal: ||q'q - I|| is {residual:.3g}; "
            "take torchmanifold.maps.polar(q) first"
        )
    remedy = (
        "Use tm.constrain(module, name, tm.SpecialOrthogonal()) or tm.Stiefel(), which move the "
        "base point and represent it exactly."
    )
    if not q.is_complex() and bool((determinant_sign(q) < 0).any()):
        raise ValueError(
            f"{name}.right_inverse: the matrix has determinant -1, so no skew matrix maps to it. "
            + remedy
        )
    q = single(q)
    gap = float(torch.linalg.svdvals(eye_like(q) + q)[..., -1].amin())
    if gap <= torch.finfo(q.dtype).eps ** 0.5:  # the inverse has an error of about eps / gap
        raise ValueError(
            f"{name}.right_inverse: the matrix has an eigenvalue -1 (distance {gap:.3g}), where "
            "the map has no inverse. " + remedy
        )
