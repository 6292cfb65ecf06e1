"""The central claim: SGD on a trivialization that is rebased every step is Riemannian SGD."""

import copy

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, entries, every, label
from torch import nn

import torchmanifold as tm

SETTINGS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.9, "dampening": 0.5},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "maximize": {"momentum": 0.5, "maximize": True},
}


def reals(x):
    return torch.view_as_real(x) if x.is_complex() else x


class Weight(nn.Module):
    """One weight at a random point, and a smooth bounded loss without symmetry."""

    def __init__(self, manifold, shape, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        dtype = entries(manifold, torch.float64)
        x = manifold.random(*shape, generator=generator, dtype=dtype)
        self.weight = nn.Parameter(x)
        self.register_buffer("a", torch.randn(*shape, generator=generator, dtype=dtype))
        self.register_buffer("b", torch.randn(*shape, generator=generator, dtype=dtype))

    def forward(self):
        return (reals(self.a) * torch.tanh(reals(self.weight + self.b))).sum()


def train(model, optimizer, steps=12, after=lambda: None):
    points = []
    for _ in range(steps):
        optimizer.zero_grad()
        model().backward()
        optimizer.step()
        after()
        points.append(model.weight.detach().clone())
    return torch.stack(points)


def both_ways(manifold, shape, **settings):
    # Newton-Schulz is exact to rounding only for short steps: two steps leave e^8 / 2.
    lr = 0.001 if isinstance(manifold.retraction, tm.NewtonSchulz) else 0.01
    model = Weight(manifold, shape)
    parametrized = tm.constrain(copy.deepcopy(model), "weight", manifold)
    riemannian = tm.constrain(copy.deepcopy(model), "weight", manifold, how="riemannian")
    sgd = torch.optim.SGD(parametrized.parameters(), lr=lr, **settings)
    tm.optim.rebase_every(parametrized, sgd, steps=1)
    ours = tm.optim.RiemannianSGD(riemannian, lr=lr, **settings)
    return train(parametrized, sgd), train(riemannian, ours)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(("manifold", "shape"), every((*CASES, *ALWAYS_COMPLEX)), ids=label)
def test_sgd_rebased_every_step_is_riemannian_sgd(manifold, shape, settings):
    rebased, riemannian = both_ways(manifold, shape, **settings)
    # Coordinates of Bures-Wasserstein solve a Lyapunov equation, whose condition is that of x.
    rounding = 1e-10 if isinstance(manifold.metric, tm.BuresWasserstein) else 1e-12
    scale = riemannian.abs().max()
    assert (rebased - riemannian).abs().max() <= rounding * scale
    # The optimizers do move, except on a set of isolated points.
    assert manifold.dim(shape) == 0 or (riemannian[-1] - riemannian[0]).abs().max() > 1e-4


def test_rebase_by_hand_is_rebase_every():
    manifold, shape = tm.Stiefel(), (6, 3)
    model = tm.constrain(Weight(manifold, shape), "weight", manifold)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    by_hand = train(model, sgd, after=lambda: tm.rebase_(model, sgd))
    rebased, _ = both_ways(manifold, shape, momentum=0.9)
    assert torch.equal(by_hand, rebased)


def test_without_carrying_the_momentum_the_square_does_not_commute():
    manifold, shape = tm.Stiefel(), (6, 3)
    model = tm.constrain(Weight(manifold, shape), "weight", manifold)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    uncarried = train(model, sgd, after=lambda: tm.rebase_(model))
    _, riemannian = both_ways(manifold, shape, momentum=0.9)
    assert (uncarried - riemannian).abs().max() > 1e-4


def test_without_rebasing_it_is_another_method():
    manifold, shape = tm.Stiefel(), (6, 3)
    model = tm.constrain(Weight(manifold, shape), "weight", manifold)
    never = train(model, torch.optim.SGD(model.parameters(), lr=0.01))
    _, riemannian = both_ways(manifold, shape)
    assert (never - riemannian).abs().max() > 1e-4
    assert torch.allclose(never[0], riemannian[0], rtol=0, atol=1e-14)  # the first step agrees
