"""Doubly stochastic matrices, as a module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import single
from torchmanifold.manifolds.maps.modules.domain import (
    largest,
    require_real,
    require_square,
    slack,
)
from torchmanifold.manifolds.maps.stochastic import doubly_stochastic

__all__ = ["DoublyStochastic"]


class DoublyStochastic(nn.Module):
    """The doubly stochastic matrix `diag(r) exp(z) diag(c)` of free logits `z`.

    Source: Sinkhorn 1964; Mena et al., Learning latent permutations with Gumbel-Sinkhorn networks,
    ICLR 2018.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import DoublyStochastic
        >>> DoublyStochastic()(torch.zeros(2, 2))
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """Sinkhorn's limit of `exp(z)`."""
        return doubly_stochastic(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`log x`; raises ValueError if `x` is not positive and doubly stochastic."""
        name = "DoublyStochastic"
        require_real(x, name)
        require_square(x, name)
        if x.is_meta or x.numel() == 0:
            return x
        if not bool((x > 0).all()):
            raise ValueError(
                f"{name}.right_inverse: entries must be positive, the least is "
                f"{float(x.min()):.3g}; take torchmanifold.DoublyStochastic().project(x)"
            )
        sums = torch.cat([single(x).sum(-1), single(x).sum(-2)], -1)
        if not (off := largest(sums - 1)) <= slack(x):
            raise ValueError(
                f"{name}.right_inverse: rows and columns must add to one, their sums differ by "
                f"{off:.2g}; take torchmanifold.DoublyStochastic().project(x)"
            )
        return x.log()
