"""Great circles of unit spheres whose vectors lie along given dimensions of a tensor.

Source: Absil, Mahony & Sepulchre 2008, examples 5.4.1 and 4.1.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import cos_sinc

__all__ = [
    "circle_angle",
    "circle_dot",
    "circle_exp",
    "circle_log",
    "circle_transport",
    "circle_unit",
]

Dims = tuple[int, ...]


def circle_dot(u: Tensor, v: Tensor, dims: Dims) -> Tensor:
    """Real inner product over `dims`, which stay with the size 1."""
    product = (u.conj() * v).sum(dims, keepdim=True)
    return product.real if product.is_complex() else product


def circle_unit(x: Tensor, dims: Dims) -> Tensor:
    """`x` over its norm along `dims`."""
    # Division by the largest entry keeps huge and tiny vectors from over- and underflow.
    scale = x.detach().abs().amax(dims, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    x = x / scale
    return x / torch.linalg.vector_norm(x, dim=dims, keepdim=True)


def circle_exp(x: Tensor, v: Tensor, dims: Dims) -> Tensor:
    """The end of the great circle that leaves `x` with velocity `v`."""
    cos, sinc = cos_sinc(circle_dot(v, v, dims))
    # The last normalization keeps the error of 10^4 steps at rounding level; else it would add up.
    return circle_unit(cos * x + sinc * v, dims)


def circle_log(x: Tensor, y: Tensor, dims: Dims) -> Tensor:
    """The velocity of the shortest great circle from `x` to `y`."""
    cos = circle_dot(x, y, dims)
    u = (y - x) - circle_dot(x, y - x, dims) * x
    square = circle_dot(u, u, dims)
    near = (square < 1e-4) & (cos > 0)
    sin = torch.where(near, 1.0, square).sqrt()
    # arcsin(s)/s to order s^10: exact to rounding for s < 1e-2, and smooth at s = 0.
    s = torch.where(near, square, 0.0)
    series = 1 + s * (1 / 6 + s * (3 / 40 + s * (15 / 336 + s * (105 / 3456))))
    return torch.where(near, series, torch.atan2(sin, cos) / sin) * u


def circle_angle(x: Tensor, y: Tensor, dims: Dims) -> Tensor:
    """The angle between `x` and `y`, without the dimensions `dims`."""
    # Accurate for near and for opposite points, unlike arc cosine and arc sine.
    chord, other = (torch.linalg.vector_norm(z, dim=dims) for z in (x - y, x + y))
    return 2 * torch.atan2(chord, other)


def circle_transport(x: Tensor, v: Tensor, w: Tensor, dims: Dims) -> Tensor:
    """`w`, transported parallel along the great circle that leaves `x` with velocity `v`."""
    # The part of w along v turns with the velocity, and the rest stays.
    square = circle_dot(v, v, dims)
    _, sinc = cos_sinc(square)
    # (cos - 1) / |v|^2 = -sinc(|v| / 2)^2 / 2
    half = cos_sinc(square / 4)[1]
    return w - circle_dot(v, w, dims) * (sinc * x + half.square() / 2 * v)
