"""Newton-Schulz iteration towards the polar factor."""

from __future__ import annotations

from torch import Tensor

from torchmanifold.manifolds.linalg import in_working_precision, newton_schulz_step

__all__ = ["newton_schulz"]


@in_working_precision
def newton_schulz(z: Tensor, steps: int = 1) -> Tensor:
    """Newton-Schulz steps `Y <- Y (3 I - Y'Y) / 2` towards the polar factor.

    One step takes `e = ||Y'Y - I||` to about `3 e^2 / 4`. The iteration converges if the singular
    values lie between 0 and `sqrt(3)`. A finite number of steps does not give the polar factor
    itself.

    Args:
        z: `(*batch, n, p)`, `n >= p`, near orthonormal columns.
        steps: number of steps.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import newton_schulz
        >>> newton_schulz(torch.tensor([[1.1]]), steps=3)
        tensor([[1.0000]])

    Source: Higham, Functions of Matrices (2008), equation (8.20).
    """
    for _ in range(steps):
        z = newton_schulz_step(z)
    return z
