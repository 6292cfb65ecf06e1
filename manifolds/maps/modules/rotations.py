"""Skew-symmetric to orthogonal matrices, as modules: Cayley transform and exponential."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import adjoint, gram_residual, newton_schulz_step, single, wide
from torchmanifold.manifolds.maps.cayley import cayley, inverse_cayley
from torchmanifold.manifolds.maps.exponential import expm, expm_skew, log_orthogonal
from torchmanifold.manifolds.maps.modules.domain import (
    largest,
    require_positive_definite,
    require_rotation,
    require_square,
    slack,
)
from torchmanifold.manifolds.maps.spectral import spd_log

__all__ = ["CayleyMap", "MatrixExponential"]


class CayleyMap(nn.Module):
    """Skew to orthogonal by the Cayley transform; chain it after `Skew`.

    The map reaches every rotation without eigenvalue -1. `tm.constrain` has no such gap, because
    its base point moves.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import CayleyMap
        >>> CayleyMap()(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, a: Tensor) -> Tensor:
        """`cayley(a)`."""
        return cayley(a)

    def right_inverse(self, q: Tensor) -> Tensor:
        """Inverse Cayley transform.

        Raises:
            ValueError: `q` is not orthogonal, or has eigenvalue -1 (as every orthogonal
                matrix of determinant -1 does).
        """
        require_rotation(q, "CayleyMap")
        # Near -1 the solve needs more digits, and it would turn rounding errors off the group into
        # angles.
        return inverse_cayley(newton_schulz_step(wide(q))).to(q.dtype)


class MatrixExponential(nn.Module):
    """Matrix exponential: after `Skew` a rotation, after `Symmetric` a positive definite matrix.

    Args:
        skew: promise that the argument is skew, as after `Skew`. The map then takes fewer products,
            and is orthogonal to working precision at any norm; see `expm_skew`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import MatrixExponential
        >>> MatrixExponential()(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    batched = True

    def __init__(self, *, skew: bool = False) -> None:
        super().__init__()
        self.skew = skew

    @property
    def config(self) -> tuple[bool]:
        """The settings; maps with equal settings can be evaluated together."""
        return (self.skew,)

    def forward(self, a: Tensor) -> Tensor:
        """`exp(a)`."""
        return expm_skew(a) if self.skew else expm(a)

    def right_inverse(self, q: Tensor) -> Tensor:
        """Principal logarithm of an orthogonal or of a symmetric positive definite matrix.

        Raises:
            ValueError: `q` is neither, or is orthogonal with eigenvalue -1; with `skew=True`,
                `q` is not orthogonal.
        """
        name = type(self).__name__
        if self.skew:
            return _log_rotation(q, name)
        require_square(q, name)
        return torch.empty_like(q) if q.is_meta else _logarithm(q, name)


def _log_rotation(q: Tensor, name: str) -> Tensor:
    require_rotation(q, name)
    # Near -1 a solve needs more digits, and it would turn rounding errors off the group into
    # angles.
    return log_orthogonal(newton_schulz_step(wide(q))).to(q.dtype)


def _logarithm(q: Tensor, name: str) -> Tensor:
    residual = largest(gram_residual(q))
    if residual <= slack(q) * q.shape[-1] ** 0.5:
        return _log_rotation(q, name)
    asymmetry = largest(single(q) - adjoint(single(q)))
    if asymmetry <= slack(q) / 10 * largest(q):
        require_positive_definite(q, name)
        return spd_log(q)
    raise ValueError(
        f"{name}.right_inverse: the matrix is neither orthogonal (||q'q - I|| is {residual:.3g}) "
        f"nor symmetric (max |q - q'| is {asymmetry:.3g})"
    )
