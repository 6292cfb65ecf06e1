"""Linear and elementwise maps: symmetric, skew, triangular, unit norm, positive."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import skew, sym

__all__ = ["Positive", "Skew", "Symmetric", "Triangular", "UnitNorm"]


def _require_square(x: Tensor, name: str) -> None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{name}.right_inverse: expected (*, n, n), got shape {tuple(x.shape)}")


def _require_part(x: Tensor, part: Tensor, name: str, word: str) -> None:
    off = float((x - part).abs().amax()) if x.numel() else 0.0
    if not off <= 100 * torch.finfo(x.dtype).eps * float(x.abs().amax()):
        raise ValueError(
            f"{name}.right_inverse: the matrix is not {word}: its distance from its {word} part "
            f"is {off:.3g}"
        )


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
        _require_square(s, "Symmetric")
        _require_part(s, sym(s), "Symmetric", "symmetric")
        return s


class Skew(nn.Module):
    """Skew-symmetric (skew-Hermitian) part `(z - z') / 2`.

    The orthogonal projection: gradient descent on `z` is gradient descent on the skew matrix.

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
        _require_square(a, "Skew")
        _require_part(a, skew(a), "Skew", "skew")
        return a


class Triangular(nn.Module):
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
        """What must agree for two of these maps to be evaluated together."""
        return (self.upper, self.diagonal)

    def forward(self, z: Tensor) -> Tensor:
        """The triangle of `z`."""
        return z.triu(self.diagonal) if self.upper else z.tril(self.diagonal)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if it is not triangular."""
        _require_part(x, self.forward(x), "Triangular", "triangular")
        return x


class UnitNorm(nn.Module):
    """Vectors scaled to norm 1: the sphere.

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
        # Leading dimensions may be added only if the vectors are counted from the end.
        dims = dim if isinstance(dim, tuple) else (dim,)
        self.batched = all(d < 0 for d in dims)

    @property
    def config(self) -> int | tuple[int, ...]:
        """What must agree for two of these maps to be evaluated together."""
        return self.dim

    def forward(self, z: Tensor) -> Tensor:
        """`z / ||z||`."""
        return z / torch.linalg.vector_norm(z, dim=self.dim, keepdim=True)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if a norm is not 1."""
        off = float((torch.linalg.vector_norm(x, dim=self.dim) - 1).abs().amax())
        if not off <= 1000 * torch.finfo(x.dtype).eps:
            raise ValueError(f"UnitNorm.right_inverse: a norm differs from 1 by {off:.3g}")
        return x


class Positive(nn.Module):
    """Entries made positive by `log(1 + exp(z))`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Positive
        >>> Positive()(torch.zeros(1))
        tensor([0.6931])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """Softplus, without a threshold."""
        return torch.logaddexp(z, torch.zeros_like(z))

    def right_inverse(self, x: Tensor) -> Tensor:
        """Inverse softplus; raises ValueError if an entry is not positive."""
        if not bool((x > 0).all()):
            raise ValueError(
                "Positive.right_inverse: entries must be positive, the least is "
                f"{float(x.amin()):.3g}"
            )
        return x + torch.log(-torch.expm1(-x))
