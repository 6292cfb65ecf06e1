"""No tensor is larger than the weight in float64: never `n x n` for an `n x p` weight."""

from typing import Any

import pytest
import torch
from cases import label, variants
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import torchmanifold as tm
from torchmanifold.manifolds import maps


class Largest(TorchDispatchMode):
    """Remembers the size in bytes of the largest tensor that an operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                self.bytes = max(self.bytes, x.numel() * x.element_size())
        return out


MANIFOLDS = [*variants(tm.Stiefel()), tm.FixedRank(3)]
N, P = 600, 8
DOUBLE = 8 * N * P


@pytest.mark.parametrize("shape", [(N, P), (P, N)], ids=str)
@pytest.mark.parametrize("M", MANIFOLDS, ids=label)
def test_a_parametrized_weight(M: tm.Manifold, shape: tuple[int, int]) -> None:
    layer = nn.Linear(shape[1], shape[0])
    with Largest() as largest:
        tm.constrain(layer, "weight", M)
        v = layer.parametrizations.weight.original
        layer.weight.square().mul(torch.arange(N * P).reshape(shape)).mean().backward()
        assert v.grad is not None
        with torch.no_grad():
            v.sub_(v.grad)
        tm.rebase_(layer)
        tm.unconstrain(layer, "weight")
    assert 0 < largest.bytes <= DOUBLE


@pytest.mark.parametrize("M", MANIFOLDS, ids=label)
def test_a_riemannian_step(M: tm.Manifold) -> None:
    with Largest() as largest:
        x, g = M.random(N, P), torch.randn(N, P)
        v = M.gradient(x, g)
        y = M.retract(x, -0.01 * v)
        M.transport(x, -0.01 * v, v)
        M.residual(y)
    assert 0 < largest.bytes <= DOUBLE


@pytest.mark.parametrize(
    "module",
    [
        maps.Polar(),
        maps.QR(),
        maps.Householder(),
        maps.NewtonSchulz(2),
        maps.LowRank(3),
        maps.FixedRank(3),
        maps.SpectralBound(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_map(module: nn.Module) -> None:
    x = maps.polar(torch.randn(N, P))
    with Largest() as largest:
        free = module.right_inverse(x)
        free = free if isinstance(free, tuple) else (free,)
        free = tuple(f.detach().requires_grad_() for f in free)
        torch.autograd.grad(module(*free), free, torch.randn(N, P))
    assert 0 < largest.bytes <= DOUBLE
