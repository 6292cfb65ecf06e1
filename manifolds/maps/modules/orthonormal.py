"""Any matrix to orthonormal columns, as modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import in_working_precision
from torchmanifold.manifolds.maps.householder import householder
from torchmanifold.manifolds.maps.modules.domain import require_orthonormal
from torchmanifold.manifolds.maps.newton_schulz import newton_schulz
from torchmanifold.manifolds.maps.polar import polar
from torchmanifold.manifolds.maps.qr import qr

__all__ = ["QR", "Householder", "NewtonSchulz", "Polar"]


class Polar(nn.Module):
    """Any full-rank tall matrix to the nearest one with orthonormal columns.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Polar
        >>> Polar()(2 * torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """`polar(z)`."""
        return polar(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if its columns are not orthonormal."""
        require_orthonormal(x, type(self).__name__)
        return x


class QR(nn.Module):
    """Any full-rank tall matrix to its orthonormal QR factor with positive diagonal.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import QR
        >>> QR()(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """`qr(z)`."""
        return qr(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if its columns are not orthonormal."""
        require_orthonormal(x, type(self).__name__)
        return x


class NewtonSchulz(nn.Module):
    """A matrix near orthonormal columns, moved nearer by Newton-Schulz steps.

    Args:
        steps: number of steps.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import NewtonSchulz
        >>> NewtonSchulz(steps=2)(torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    batched = True

    def __init__(self, steps: int = 1) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"NewtonSchulz: steps must be at least 1, got {steps}")
        self.steps = steps

    @property
    def config(self) -> tuple[int]:
        """The settings; maps with equal settings can be evaluated together."""
        return (self.steps,)

    def forward(self, z: Tensor) -> Tensor:
        """`newton_schulz(z, steps)`."""
        return newton_schulz(z, self.steps)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if its columns are not orthonormal."""
        require_orthonormal(x, type(self).__name__)
        return x


@in_working_precision
def _normals(x: Tensor) -> tuple[Tensor, Tensor]:
    """Normals of reflections whose product has the columns of `x` up to signs, and the signs."""
    if x.is_meta:
        return torch.empty_like(x), x.new_empty((*x.shape[:-2], x.shape[-1]))
    packed, tau = torch.geqrf(x)
    diagonal = packed.diagonal(dim1=-2, dim2=-1)
    # LAPACK writes the identity as tau = 0. Here the normal e_k reflects, and the sign undoes it.
    signs = torch.where(tau == 0, -diagonal, diagonal).sign()
    return packed.tril(-1) + torch.eye(*x.shape[-2:], dtype=x.dtype, device=x.device), signs


class Householder(nn.Module):
    """Orthonormal columns as a product of Householder reflections, immune to weight decay.

    The right inverse sets the signs of the columns; a buffer keeps them.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Householder
        >>> map = Householder()
        >>> x = torch.eye(3, 2)
        >>> bool((map(map.right_inverse(x)) - x).abs().max() < 1e-6)
        True
    """

    batched = True
    config: tuple[()] = ()
    signs: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("signs", None)

    def forward(self, z: Tensor) -> Tensor:
        """`householder(z, signs)`."""
        return householder(z, self.signs)

    def right_inverse(self, x: Tensor) -> Tensor:
        """Normals of the reflections that give `x`; sets the signs.

        Raises:
            ValueError: the columns of `x` are not orthonormal, or it is complex.
        """
        if x.is_complex():
            raise ValueError("Householder.right_inverse: real matrices only; use Polar or QR")
        require_orthonormal(x, type(self).__name__)
        normals, self.signs = _normals(x)
        return normals
