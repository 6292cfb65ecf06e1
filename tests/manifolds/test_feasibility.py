"""Steps do not add up their rounding, also where the gradient keeps its direction."""

import pytest
import torch
from cases import label, variants

import torchmanifold as tm

ORTHONORMAL = [
    (M, shape)
    for start, shape in ((tm.Stiefel(), (24, 8)), (tm.SpecialOrthogonal(), (12, 12)))
    for M in variants(start)
]


@pytest.mark.parametrize(("M", "shape"), ORTHONORMAL, ids=label)
def test_a_steady_gradient_does_not_pull_off_the_manifold(M, shape):
    """Rounding of a random direction averages out; that of a steady one adds up.

    A Gram matrix `I + v'v`, without what the point brings along, drifts to 900 eps here.
    """
    generator = torch.Generator().manual_seed(0)
    x = M.random(*shape, generator=generator)
    pull = 30 * torch.randn(*shape, generator=generator)
    for _ in range(2000):
        x = M.retract(x, -3e-4 * M.gradient(x, pull))
    assert M.residual(x) <= M.tolerance(shape, torch.float32)
