"""Linear and elementwise maps, as modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import in_working_precision, single, skew, sym
from torchmanifold.manifolds.maps.modules.domain import (
    largest,
    require_finite,
    require_matrix,
    require_part,
    require_skew,
    require_symmetric,
    slack,
)
from torchmanifold.manifolds.maps.modules.sets import SetMap

__all__ = ["Positive", "Skew", "Symmetric", "Triangular", "UnitNorm"]


class Symmetric(nn.Module):
    """Symmetric (Hermitian) part `(z + z') / 2`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Symmetric
        >>> Symmetric()(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        tensor([[1., 1.],
                [1., 1.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """`(z + z') / 2`."""
        return sym(z)

    def right_inverse(self, s: Tensor) -> Tensor:
        """`s` itself; raises ValueError if it is not symmetric."""
        require_symmetric(s, type(self).__name__)
        return s


class Skew(nn.Module):
    """Skew-symmetric (skew-Hermitian) part `(z - z') / 2`.

    This is the orthogonal projection: gradient descent on `z` is gradient descent on the skew
    matrix.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Skew
        >>> Skew()(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """`(z - z') / 2`."""
        return skew(z)

    def right_inverse(self, a: Tensor) -> Tensor:
        """`a` itself; raises ValueError if it is not skew."""
        require_skew(a, type(self).__name__)
        return a


class Triangular(SetMap):
    """Upper or lower triangle.

    Args:
        upper: the upper triangle instead of the lower.
        diagonal: offset of the last diagonal kept, as in `torch.tril`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Triangular
        >>> Triangular()(torch.ones(2, 2))
        tensor([[1., 0.],
                [1., 1.]])
    """

    batched = True

    def __init__(self, *, upper: bool = False, diagonal: int = 0) -> None:
        super().__init__()
        self.upper, self.diagonal = upper, diagonal

    @property
    def config(self) -> tuple[bool, int]:
        """The settings; maps with equal settings can be evaluated together."""
        return (self.upper, self.diagonal)

    def forward(self, z: Tensor) -> Tensor:
        """The triangle of `z`.

        Raises:
            ValueError: if `z` is not a matrix.
        """
        require_matrix(z, "Triangular")
        return z.triu(self.diagonal) if self.upper else z.tril(self.diagonal)

    def project(self, z: Tensor) -> Tensor:
        """The triangle of `z`."""
        return self(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if it is not triangular."""
        require_finite(x, "Triangular")
        require_part(x, self.forward(x), "Triangular", "triangular")
        return x


def _first(z: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """The first coordinate vector along `dim`, of size 1 in all other dimensions."""
    dims = {d % z.ndim for d in (dim if isinstance(dim, tuple) else (dim,))}
    first = z.new_zeros([n if d in dims else 1 for d, n in enumerate(z.shape)])
    first[(0,) * z.ndim] = 1
    return first


class UnitNorm(SetMap):
    """Vectors scaled to norm 1: the sphere. A zero vector becomes the first coordinate vector.

    Args:
        dim: dimensions of one vector; the last by default.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import UnitNorm
        >>> UnitNorm()(torch.tensor([3.0, 4.0]))
        tensor([0.6000, 0.8000])
    """

    batched = False

    def __init__(self, dim: int | tuple[int, ...] = -1) -> None:
        super().__init__()
        self.dim = dim
        self.event = dim if isinstance(dim, tuple) else (dim,)
        # Leading dimensions may be added only if the vectors are counted from the end.
        self.batched = all(d < 0 for d in self.event)

    @property
    def config(self) -> int | tuple[int, ...]:
        """The settings; maps with equal settings can be evaluated together."""
        return self.dim

    def _require_entries(self, x: Tensor) -> None:
        dims = self.dim if isinstance(self.dim, tuple) else (self.dim,)
        if any(x.shape[d] == 0 for d in dims):
            raise ValueError(
                f"UnitNorm: a vector without entries has no norm of 1; got shape {tuple(x.shape)} "
                f"with the vectors along dim={self.dim}"
            )

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`z / ||z||`; raises ValueError if the vectors have no entries."""
        self._require_entries(z)
        # The value does not depend on the scale; without scaling the norm could over- or underflow.
        scale = z.detach().abs().amax(self.dim, keepdim=True)
        zero = scale == 0
        z = z / scale.masked_fill(zero, 1) + zero * _first(z, self.dim)
        return z / torch.linalg.vector_norm(z, dim=self.dim, keepdim=True)

    def project(self, z: Tensor) -> Tensor:
        """`z / ||z||`."""
        return self(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if a norm is not 1."""
        self._require_entries(x)
        require_finite(x, "UnitNorm")
        if x.is_meta:
            return x
        off = largest(torch.linalg.vector_norm(single(x), dim=self.dim) - 1)
        if not off <= slack(x):
            raise ValueError(
                f"UnitNorm.right_inverse: a norm differs from 1 by {off:.3g}; take "
                f"torchmanifold.maps.UnitNorm({self.dim}).project(x)"
            )
        return x


@in_working_precision
def _inverse_softplus(x: Tensor) -> Tensor:
    return x + torch.log(-torch.expm1(-x))


class Positive(SetMap):
    """Entries made positive by `log(1 + exp(z))`, which is lifted where it would round to zero.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Positive
        >>> Positive()(torch.zeros(1))
        tensor([0.6931])
    """

    event = ()
    batched = True
    config: tuple[()] = ()

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """Softplus, without a threshold."""
        return torch.logaddexp(z, torch.zeros_like(z)).clamp_min(torch.finfo(z.dtype).tiny)

    def project(self, z: Tensor) -> Tensor:
        """`z`, with `eps` in place of entries that are not positive."""
        return torch.where(z <= 0, torch.finfo(z.dtype).eps, z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """Inverse softplus; raises ValueError if an entry is not positive."""
        require_finite(x, "Positive")
        if not x.is_meta and not bool((x > 0).all()):
            raise ValueError(
                "Positive.right_inverse: entries must be positive, the least is "
                f"{float(x.amin()):.3g}; take torchmanifold.maps.Positive().project(x)"
            )
        return _inverse_softplus(x)
