"""Initial values of recurrent kernels: orthogonal matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from torchmanifold.manifolds import SpecialOrthogonal

__all__ = ["INITIALIZATIONS", "cayley", "haar", "henaff", "identity"]


def _rotations(angles: Tensor, size: int) -> Tensor:
    """Blocks `[[cos, sin], [-sin, cos]]` on the diagonal, and a last 1 if the size is odd."""
    first = torch.arange(0, size - 1, 2, device=angles.device)
    x = torch.eye(size, dtype=angles.dtype, device=angles.device)
    x[first, first] = x[first + 1, first + 1] = angles.cos()
    x[first, first + 1] = angles.sin()
    x[first + 1, first] = -angles.sin()
    return x


def _uniform(
    count: int,
    low: float,
    high: float,
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor:
    return torch.empty(count, dtype=dtype, device=device).uniform_(low, high, generator=generator)


def henaff(
    size: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Rotations of `size / 2` planes by angles from U(-pi, pi): eigenvalues `exp(+-i theta)`.

    The initial kernel for copying memory: its states have all frequencies, and neither grow nor
    fade.

    Args:
        size: `n`; if it is odd, one eigenvalue is 1.
        generator: source of randomness.
        dtype: of the result.
        device: of the result.

    Returns:
        `(n, n)`, orthogonal with determinant 1.

    Source: Henaff, Szlam & LeCun, Recurrent orthogonal networks and long-memory tasks, ICML
    2016, section 3.

    Example:
        >>> import torchmanifold.nn
        >>> x = torchmanifold.nn.init.henaff(6)
        >>> bool((x.T @ x - x.new_ones(6).diag()).norm() < 1e-5)
        True
    """
    return _rotations(_uniform(size // 2, -math.pi, math.pi, generator, dtype, device), size)


def cayley(
    size: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Rotations of `size / 2` planes by angles from U(0, pi/2): the right half of the circle.

    The source defines the kernel as the Cayley image `(I + A)^-1 (I - A)` of the skew matrix `A`
    with blocks `[[0, s], [-s, 0]]`,
    `s = -sqrt((1 - cos theta) / (1 + cos theta)) = -tan(theta / 2)`. This image is the rotation by
    `theta`, which is computed directly. It is the initial kernel for images read pixel by pixel.

    Args:
        size: `n`; if it is odd, one eigenvalue is 1.
        generator: source of randomness.
        dtype: of the result.
        device: of the result.

    Returns:
        `(n, n)`, orthogonal with determinant 1 and eigenvalues `exp(+-i theta)`.

    Source: Helfrich, Willmott & Ye, Orthogonal recurrent neural networks with scaled Cayley
    transform, ICML 2018, section 4.3.

    Example:
        >>> import torch, torchmanifold.nn
        >>> x = torchmanifold.nn.init.cayley(6)
        >>> bool((torch.linalg.eigvals(x).real > -1e-6).all())
        True
    """
    return _rotations(_uniform(size // 2, 0.0, math.pi / 2, generator, dtype, device), size)


def haar(
    size: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """A uniform rotation: `SpecialOrthogonal().random(size, size)`.

    Args:
        size: `n`.
        generator: source of randomness.
        dtype: of the result.
        device: of the result.

    Returns:
        `(n, n)`, orthogonal with determinant 1.

    Example:
        >>> import torch, torchmanifold.nn
        >>> bool(torch.linalg.det(torchmanifold.nn.init.haar(5)) > 0)
        True
    """
    return SpecialOrthogonal().random(size, size, generator=generator, dtype=dtype, device=device)


def identity(
    size: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The identity; it takes a generator like the other functions here, and draws nothing.

    Args:
        size: `n`.
        generator: not used.
        dtype: of the result.
        device: of the result.

    Returns:
        `(n, n)`.

    Source: Le, Jaitly & Hinton, A simple way to initialize recurrent networks of rectified
    linear units, 2015.

    Example:
        >>> import torchmanifold.nn
        >>> torchmanifold.nn.init.identity(2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    return torch.eye(size, dtype=dtype, device=device)


INITIALIZATIONS: dict[str, Callable[..., Tensor]] = {
    "henaff": henaff,
    "cayley": cayley,
    "haar": haar,
    "uniform": haar,
    "identity": identity,
}
