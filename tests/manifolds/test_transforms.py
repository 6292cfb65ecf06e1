"""Compilation and function transforms of constrained modules."""

import pytest
import torch
from cases import CASES, label, variants
from torch import nn

import torchmanifold as tm

# Compiling is slow: one shape, and each retraction once.
VARIANTS = [
    (M, case.shapes[0])
    for case in CASES
    for M in variants(case.manifold)
    if M.metric == case.manifold.metric and (M == case.manifold or not hasattr(M, "manifold"))
]
over_variants = pytest.mark.parametrize(("M", "shape"), VARIANTS, ids=label)


class Holder(nn.Module):
    """A module whose output is its weight, times a number."""

    def __init__(self, M: tm.Manifold, shape: tuple[int, ...]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(M.random(*shape, generator=generator, dtype=torch.float64))
        tm.constrain(self, "weight", M)
        with torch.no_grad():
            v = self.parametrizations.weight.original
            v.copy_(0.1 * torch.randn(v.shape, generator=generator))

    def forward(self, factor: torch.Tensor) -> torch.Tensor:
        return factor * self.weight


@over_variants
def test_compiles_as_one_graph(M, shape):
    torch._dynamo.reset()
    holder = Holder(M, shape)
    v, two = holder.parametrizations.weight.original, torch.tensor(2.0, dtype=torch.float64)
    weights = torch.arange(v.numel(), dtype=v.dtype).reshape(shape)
    results = []
    for call in (holder, torch.compile(holder, fullgraph=True, backend="aot_eager")):
        out = call(two)
        (grad,) = torch.autograd.grad((out * weights).sum(), v)
        results.append((out.detach(), grad))
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-9)
