"""Nonlinearities of a recurrent layer, whose slopes are functions of their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["NONLINEARITIES", "ModReLU", "Nonlinearity", "modrelu"]


def modrelu(z: Tensor, bias: Tensor) -> Tensor:
    r"""`sign(z) relu(|z| + b)`: the size of each entry is shrunk by `-b`, its sign is kept.

    The slope is 1 where the value is not 0, so the gradient passes an orthogonal recurrence
    unchanged. With `b = 0` the function is the identity.

    Args:
        z: `(*batch, n)`, real.
        bias: `(n,)`.

    Source: Arjovsky, Shah & Bengio, Unitary evolution recurrent neural networks, ICML 2016,
    equation (8).

    Example:
        >>> import torch, torchmanifold.nn
        >>> torchmanifold.nn.modrelu(torch.tensor([-2.0, 0.5]), torch.tensor([-1.0, -1.0]))
        tensor([-1.,  0.])
    """
    return z.sign() * torch.relu(z.abs() + bias)


class ModReLU(nn.Module):
    """`modrelu` with a bias of its own, for any cell.

    Args:
        size: the size `n` of the last dimension.
        device: of the bias.
        dtype: of the bias.

    Source: Arjovsky, Shah & Bengio 2016, equation (8); the initial distribution U(-0.01, 0.01) is
    that of Lezcano-Casado & Martinez-Rubio 2019.

    Example:
        >>> import torch, torchmanifold.nn
        >>> torchmanifold.nn.ModReLU(3)(torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the bias from U(-0.01, 0.01)."""
        nn.init.uniform_(self.bias, -0.01, 0.01, generator=generator)

    def forward(self, z: Tensor) -> Tensor:
        """`sign(z) relu(|z| + b)`, of the shape of `z`."""
        return modrelu(z, self.bias)

    def extra_repr(self) -> str:
        """The size."""
        return str(self.bias.numel())


@dataclass(frozen=True)
class Nonlinearity:
    """`h = f(z, b)`, also in place for the fast loop, with a derivative that depends on `h` alone.

    Attributes:
        function: `f(z, b)`, differentiable; `b` is None unless `inner_bias`.
        apply_: the same, written into `z`.
        pull_back_: multiplies `d` by `df/dz` at the state `h`, in place, by one kernel.
        inner_bias: whether the bias is an argument of `f`; otherwise it is added to `z`. If it is,
            `df/db = sign(h) df/dz`.
    """

    function: Callable[..., Tensor]
    apply_: Callable[..., Tensor]
    pull_back_: Callable[[Tensor, Tensor], Tensor]
    inner_bias: bool = False


def _modrelu_(z: Tensor, bias: Tensor) -> Tensor:
    size = z.abs().add_(bias).relu_()
    return z.sign_().mul_(size)


_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_relu_backward = torch.ops.aten.threshold_backward.grad_input
_hardshrink_backward = torch.ops.aten.hardshrink_backward.grad_input

NONLINEARITIES = {
    "modrelu": Nonlinearity(
        modrelu,
        _modrelu_,
        # `d` stays where `h` is not 0.
        lambda d, h: _hardshrink_backward(d, h, 0.0, grad_input=d),
        inner_bias=True,
    ),
    "tanh": Nonlinearity(
        lambda z, b: z.tanh(),
        lambda z, b: z.tanh_(),
        lambda d, h: _tanh_backward(d, h, grad_input=d),
    ),
    "relu": Nonlinearity(
        lambda z, b: z.relu(),
        lambda z, b: z.relu_(),
        lambda d, h: _relu_backward(d, h, 0, grad_input=d),
    ),
    "identity": Nonlinearity(lambda z, b: z, lambda z, b: z, lambda d, h: d),
}
