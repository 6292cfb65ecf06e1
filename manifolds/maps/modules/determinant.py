"""Matrices of positive or unit determinant, as modules."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import (
    adjoint,
    determinant_sign,
    eye_like,
    in_working_precision,
    single,
    skew,
    sym,
    trace,
)
from torchmanifold.manifolds.maps.exponential import expm_skew, log_orthogonal
from torchmanifold.manifolds.maps.modules.domain import (
    largest,
    require_real,
    require_rotation,
    require_square,
    slack,
)
from torchmanifold.manifolds.maps.modules.sets import SetMap, positive_determinant, unit_determinant
from torchmanifold.manifolds.maps.polar import polar
from torchmanifold.manifolds.maps.spectral import spd_exp, spd_log

__all__ = ["PositiveDeterminant", "UnitDeterminant"]


def _rotation_times_positive(z: Tensor, symmetric: Tensor) -> Tensor:
    return expm_skew(skew(z)) @ spd_exp(symmetric)


@in_working_precision
def _polar_logarithms(x: Tensor, name: str) -> Tensor:
    """`log q + log p` for the polar decomposition `x = q p`: a skew part and a symmetric part."""
    if not x.is_meta and not bool((determinant_sign(x) > 0).all()):
        raise ValueError(
            f"{name}.right_inverse: the determinant must be positive; take "
            f"torchmanifold.maps.{name}().project(x)"
        )
    q = polar(x)
    require_rotation(q, name)
    return log_orthogonal(q) + spd_log(sym(adjoint(q) @ x))


class PositiveDeterminant(SetMap):
    """Square matrices of positive determinant, GL+(n), by their polar decomposition.

    `exp(skew(z)) exp(sym(z))` has n^2 numbers for the n^2 dimensions, is onto, and never singular.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import PositiveDeterminant
        >>> PositiveDeterminant()(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])

    Source: Hall, Lie Groups, Lie Algebras, and Representations (2015), section 2.5.
    """

    batched = True
    config: tuple[()] = ()

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`exp(skew(z)) exp(sym(z))`."""
        return _rotation_times_positive(z, sym(z))

    def project(self, z: Tensor) -> Tensor:
        """`z`; if its determinant is not positive, the least singular value changes its sign.

        It becomes a hundredth of the largest. The nearest point would be on the boundary, and near
        the boundary the right inverse has fewer correct digits.
        """
        return positive_determinant(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """Logarithms of the polar factors; raises ValueError if the determinant is not positive."""
        require_real(x, "PositiveDeterminant")
        require_square(x, "PositiveDeterminant")
        return _polar_logarithms(x, "PositiveDeterminant")


class UnitDeterminant(SetMap):
    """Square matrices of determinant 1, SL(n), by their polar decomposition.

    `exp(skew(z)) exp(s)` with `s` the traceless part of `sym(z)`: `det exp(s) = exp(tr s) = 1`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import UnitDeterminant
        >>> UnitDeterminant()(torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])

    Source: Hall, Lie Groups, Lie Algebras, and Representations (2015), section 2.5.
    """

    batched = True
    config: tuple[()] = ()

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`exp(skew(z)) exp(sym(z) - tr(z) / n)`."""
        s = sym(z)
        mean = trace(s)[..., None, None] / z.shape[-1]
        return _rotation_times_positive(z, s - mean * eye_like(z))

    def project(self, z: Tensor) -> Tensor:
        """`z` over the n-th root of its determinant, which is first made positive if needed."""
        return unit_determinant(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """Logarithms of the polar factors; raises ValueError if the determinant is not 1."""
        require_real(x, "UnitDeterminant")
        require_square(x, "UnitDeterminant")
        size = torch.linalg.svdvals(single(x)).log().sum(-1).exp()
        off = 0.0 if x.is_meta else largest(determinant_sign(x) * size - 1)
        if not off <= slack(x) * x.shape[-1]:
            raise ValueError(
                f"UnitDeterminant.right_inverse: the determinant differs from 1 by {off:.3g}; "
                "take torchmanifold.maps.UnitDeterminant().project(x)"
            )
        return _polar_logarithms(x, "UnitDeterminant")
