"""Contenders of several benchmarks: a function or a layer's weight, forward and backward."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

import torchmanifold as tm
from torchmanifold.manifolds.linalg import gram_residual, skew

from .table import Target
from .timing import Contender

__all__ = [
    "Steps",
    "constrained",
    "forward_backward",
    "linear",
    "loose",
    "random_skew",
    "spread_out",
    "worst_residual",
]


def worst_residual(x: Tensor) -> float:
    """The largest `||x'x - I||_F`, of columns or of rows, whichever can be orthonormal."""
    x = x.detach()
    return float(gram_residual(x if x.shape[-2] >= x.shape[-1] else x.mT).max())


def random_skew(*shape: int, one_norm: float, device: torch.device) -> Tensor:
    """Dense random skew matrices of the given 1-norm, as a leaf that requires gradients."""
    a = skew(torch.randn(*shape, device=device))
    a = a * (one_norm / a.abs().sum(-2).amax(-1))[..., None, None]
    return a.requires_grad_()


def spread_out(*shape: int, norm: float, device: torch.device) -> Tensor:
    """A random matrix of about the given spectral norm."""
    return torch.randn(*shape, device=device) * (norm / (shape[-2] ** 0.5 + shape[-1] ** 0.5))


def forward_backward(
    name: str, function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor, **options: Any
) -> Contender:
    """`function(x)` and the gradient of its inner product with `grad`."""

    def call() -> object:
        return torch.autograd.grad(function(x), x, grad)

    options.setdefault("residual", lambda: worst_residual(function(x)))
    return Contender(name, call, **options)


def loose(layer: nn.Module, norm: float = 0.1) -> nn.Module:
    """Move the coordinates of a layer's weight away from the base, by a spectral norm.

    Only entries below the diagonal change, because torch's Householder map keeps signs on it.
    """
    for parametrizations in layer.parametrizations.values():  # type: ignore[union-attr,operator]
        v = parametrizations.original
        with torch.no_grad():
            v.add_(spread_out(*v.shape, norm=norm, device=v.device).tril(-1))
    return layer


def linear(
    name: str,
    layers: Sequence[nn.Module],
    cached: Callable[[], AbstractContextManager[object]],
    grads: Sequence[Tensor],
    **options: Any,
) -> Contender:
    """The weights of linear layers and their gradients, through the library's cache."""
    inputs = [p for layer in layers for p in layer.parameters()]

    def call() -> object:
        with cached():
            return torch.autograd.grad([layer.weight for layer in layers], inputs, grads)

    options.setdefault("residual", lambda: max(worst_residual(each.weight) for each in layers))
    return Contender(name, call, **options)


def constrained(n: int, p: int, manifold: tm.Manifold, device: torch.device) -> nn.Module:
    """A linear layer without bias whose weight, `n x p`, is on a manifold, away from the base."""
    return loose(tm.constrain(nn.Linear(p, n, bias=False, device=device), "weight", manifold))


class Steps:
    """An optimizer whose weights get one of four gradients before each step, in turn."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
    ) -> None:
        self.optimizer = optimizer
        self.parameters = parameters
        # Separate tensors, as from a backward pass.
        self.turns = itertools.cycle(
            [
                [g.clone() for g in gradient.reshape(len(parameters), *parameters[0].shape)]
                for gradient in gradients
            ]
        )

    def prepare(self) -> None:
        """Give the weights their next gradients."""
        for parameter, gradient in zip(self.parameters, next(self.turns), strict=True):
            parameter.grad = gradient

    def residual(self) -> float:
        """The largest residual of the weights."""
        return worst_residual(torch.stack([p.detach() for p in self.parameters]))

    def contender(self, name: str, **options: bool | tuple[Target, ...]) -> Contender:
        """One step, timed."""
        return Contender(
            name,
            self.optimizer.step,
            self.residual,
            before=self.prepare,
            number=1,
            **options,  # type: ignore[arg-type]
        )
