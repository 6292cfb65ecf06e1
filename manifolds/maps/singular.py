"""Functions of singular values: truncation to a rank, and bounds.

An odd function `f` acts on a matrix through its singular values, `U diag(f(s)) V'`. Its
derivative needs `f[s_i, s_j]` and `f[s_i, -s_j] = (f(s_i) + f(s_j)) / (s_i + s_j)`, and is
finite where singular values coincide. Differentiating an SVD would divide by zero there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import MatrixFunction, adjoint, in_working_precision, svd
from torchmanifold.manifolds.maps.scalar_functions import SpectralFunction, piecewise_linear
from torchmanifold.manifolds.maps.spectral import directional_derivative

__all__ = ["clamp_singular_values", "truncate"]


def _blocks(z: Tensor) -> Tensor:
    """`[[0, z], [z', 0]]`: its eigenvalues are plus and minus the singular values of `z`."""
    n, p = z.shape[-2:]
    top = torch.cat([z.new_zeros(*z.shape[:-2], n, n), z], -1)
    bottom = torch.cat([adjoint(z), z.new_zeros(*z.shape[:-2], p, p)], -1)
    return torch.cat([top, bottom], -2)


class _Singular(MatrixFunction):
    """`U diag(f(s)) V'` for `f(s)` given by `value`.

    `fit` gives the odd function, from the singular values or from the eigenvalues of `_blocks(z)`.
    """

    @staticmethod
    def forward(
        z: Tensor,
        value: Callable[[Tensor], Tensor],
        fit: Callable[[Tensor], SpectralFunction],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        u, s, vh = svd(z)
        return (u * value(s).unsqueeze(-2)) @ vh, u, s, vh

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        z, _, ctx.fit = inputs
        _, *factors = output
        ctx.mark_non_differentiable(*factors)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z, *factors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        z, u, s, vh = ctx.saved_tensors
        n, p = z.shape[-2:]
        if torch.is_grad_enabled():
            # A second derivative is recorded: take the function of the symmetric matrix of blocks.
            whole = directional_derivative(_blocks(z), _blocks(grad), ctx.fit)
            return whole[..., :n, n:], None, None
        first = ctx.fit(s).first
        x, y = s.unsqueeze(-1), s.unsqueeze(-2)
        left, right = adjoint(u) @ grad, grad @ adjoint(vh)
        e = left @ adjoint(vh)
        inner = first(x, y) * (e + adjoint(e)) / 2 + first(x, -y) * (e - adjoint(e)) / 2
        g = u @ inner @ vh
        slope = first(s, torch.zeros_like(s))
        if n > p:
            g = g + ((right - u @ e) * slope.unsqueeze(-2)) @ vh
        elif n < p:
            g = g + u @ (slope.unsqueeze(-1) * (left - e @ vh))
        return g, None, None


@in_working_precision
def truncate(z: Tensor, rank: int, floor: float = 0.0) -> Tensor:
    """Nearest matrix of rank at most `rank`: the singular value decomposition, truncated.

    The derivative is finite also where singular values coincide, as long as the last kept one
    is larger than the first dropped one (otherwise the nearest matrix is not unique).

    Args:
        z: `(*batch, n, p)`.
        rank: number of singular values kept.
        floor: kept singular values are raised to this fraction of the largest (of 1 if all are
            zero), so that the value has exactly this rank.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import truncate
        >>> truncate(torch.diag(torch.tensor([3.0, 1.0])), 1)
        tensor([[3., 0.],
                [0., 0.]])

    Source: Eckart and Young, Psychometrika 1 (1936); Vandereycken, Low-rank matrix completion
    by Riemannian optimization, SIAM J. Optim. 23 (2013).
    """
    everything = rank >= min(z.shape[-2:])

    def value(s: Tensor) -> Tensor:
        if floor:
            s = torch.maximum(s, floor * torch.where(s[..., :1] > 0, s[..., :1], 1.0))
        return s * (torch.arange(s.shape[-1], device=s.device) < rank)

    def fit(spectrum: Tensor) -> SpectralFunction:
        if everything:
            # Every singular value is kept, also a zero one; the map is the identity.
            return SpectralFunction(
                lambda x: x,
                lambda x, y: torch.ones_like(x + y),
                lambda x, y, z: torch.zeros_like(x + y + z),
            )
        cut = spectrum.topk(rank + 1).values[..., rank - 1 :].mean(-1)

        def kept(x: Tensor) -> Tensor:
            return x.abs() > cut.reshape(cut.shape + (1,) * (x.ndim - cut.ndim))

        # All kept points lie on one line through zero, whatever their sign.
        return piecewise_linear(lambda x: x * kept(x), lambda x: kept(x).long())

    return _Singular.apply(z, value, fit)[0]


@in_working_precision
def clamp_singular_values(z: Tensor, low: float, high: float) -> Tensor:
    """Nearest matrix with all singular values between `low` and `high`.

    With `low = high = 1` it is the polar factor, and with `low = 0` the projection onto the ball of
    the spectral norm. The derivative is finite at repeated singular values.

    Args:
        z: `(*batch, n, p)`; of full rank if `low > 0`.
        low: least singular value, at least 0.
        high: largest singular value.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import clamp_singular_values
        >>> clamp_singular_values(torch.diag(torch.tensor([3.0, 0.5])), 0.0, 1.0)
        tensor([[1.0000, 0.0000],
                [0.0000, 0.5000]])

    Source: Bhatia, Matrix Analysis (1997), chapter IX.
    """
    if z.numel() == 0:
        return z

    def fit(spectrum: Tensor) -> SpectralFunction:
        # The matrix of blocks has zero eigenvalues up to rounding, which must not be taken for
        # small singular values.
        noise = 100 * torch.finfo(spectrum.dtype).eps * spectrum.amax(-1, keepdim=True)

        def sign(x: Tensor) -> Tensor:
            zero = x.abs() <= noise.reshape(noise.shape + (1,) * (x.ndim - noise.ndim))
            return x.sign().masked_fill(zero, 0)

        def value(x: Tensor) -> Tensor:
            return x.abs().clamp(low, high) * sign(x)

        def piece(x: Tensor) -> Tensor:
            size = x.abs()
            level = torch.where(size >= high, 4, torch.where(size > low, 3, 2))
            number = 10 + sign(x).long() * level
            # Without a lower bound the two pieces in the middle are one, through zero.
            return number if low > 0 else torch.where(size < high, 9, number)

        return piecewise_linear(value, piece)

    return _Singular.apply(z, lambda s: s.clamp(low, high), fit)[0]
