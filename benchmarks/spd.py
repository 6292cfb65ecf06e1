"""Functions of symmetric matrices against the usual composition with `eigh`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

import torchmanifold as tm
from torchmanifold.manifolds.linalg import sym

from .benchmark import Piece, Settings
from .contenders import forward_backward
from .table import Target
from .timing import Work

__all__ = ["pieces"]

FUNCTIONS = {
    "exp": (tm.maps.spd_exp, torch.exp),
    "log": (tm.maps.spd_log, torch.log),
    "sqrt": (tm.maps.spd_sqrt, torch.sqrt),
}


def composed(f: Callable[[Tensor], Tensor], s: Tensor) -> Tensor:
    """`U f(l) U'` by `torch.linalg.eigh`; its gradient is not finite at repeated eigenvalues."""
    values, vectors = torch.linalg.eigh(sym(s))
    return (vectors * f(values).unsqueeze(-2)) @ vectors.mH


def pieces(settings: Settings) -> Iterator[Piece]:
    """Exponential, logarithm and square root, forward and backward: many small and one large."""
    for count, n in ((2, 6), (1, 12)) if settings.quick else ((100, 64), (1, 512)):
        for name in FUNCTIONS:
            full = f"SPD {name} {count} x ({n} x {n})"
            yield Piece(full, partial(_work, full, settings, name, count, n))


def _work(full: str, settings: Settings, name: str, count: int, n: int) -> Work:
    ours, f = FUNCTIONS[name]
    z = torch.randn(count, n, n, device=settings.device) / n**0.5
    x = sym(z) if name == "exp" else z @ z.mT + 0.1 * torch.eye(n, device=settings.device)
    x = x.requires_grad_()
    grad = torch.randn_like(x)
    exact = composed(f, x.detach().double())

    def error(function: Callable[[Tensor], Tensor]) -> Callable[[], float]:
        return lambda: float((function(x.detach()) - exact).norm() / exact.norm())

    theirs = partial(composed, f)
    return Work(
        full,
        [
            forward_backward("ours", ours, x, grad, ours=True, residual=error(ours)),
            forward_backward(
                "torch eigh",
                theirs,
                x,
                grad,
                residual=error(theirs),
                targets=(Target.at_most_times(1),),
            ),
        ],
        product=lambda: grad.mT @ grad,
    )
