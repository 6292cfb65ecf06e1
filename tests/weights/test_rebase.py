"""Rebasing of optimizers: first moments are carried, points and foreign optimizers are refused."""

import pytest
import torch
from torch import nn

import torchmanifold as tm

F64 = torch.float64

REBASED = [
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.Adafactor,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.Muon,
    tm.optim.RiemannianAdam,
]


class Schedulefree(torch.optim.SGD):
    """An optimizer that keeps a point under an unusual name."""

    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].setdefault("z", torch.zeros_like(p)).lerp_(p, 0.5)


def layer(shape=(4, 4)):
    torch.manual_seed(0)
    net = nn.Linear(*shape, bias=False, dtype=F64)
    return tm.constrain(net, "weight", tm.Stiefel(retraction=tm.Polar()))


def train(net, optimizer, steps):
    for i in range(steps):
        optimizer.zero_grad()
        x = torch.randn(3, 4, generator=torch.Generator().manual_seed(i), dtype=F64)
        net(x).pow(3).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("optimizer", REBASED)
def test_optimizers_of_torch_are_rebased_without_a_word(optimizer):
    net = layer()
    stepper = optimizer(net.parameters(), lr=0.01)
    tm.optim.rebase_every(net, stepper, steps=1)
    before = net.weight.detach().clone()
    train(net, stepper, 4)
    assert not net.parametrizations.weight.original.any()
    assert tm.Stiefel().residual(net.weight) < 1e-12
    assert not torch.equal(net.weight, before)


@pytest.mark.parametrize("call", [tm.rebase_, tm.optim.rebase_every])
def test_an_average_of_coordinates_is_refused(call):
    net = layer()
    optimizer = torch.optim.ASGD(net.parameters(), lr=0.01)
    train(net, optimizer, 2)
    before = net.parametrizations.weight.original.detach().clone()
    with pytest.raises(ValueError, match="ASGD keeps an average.*tm.average_"):
        call(net, optimizer)
    assert torch.equal(net.parametrizations.weight.original, before)


@pytest.mark.parametrize("call", [tm.rebase_, tm.optim.rebase_every])
def test_an_optimizer_of_other_weights_is_refused(call):
    net = nn.Linear(4, 4)
    early = torch.optim.SGD([nn.Parameter(net.weight.detach().clone())], lr=0.1)
    tm.constrain(net, "weight", tm.Stiefel())
    with pytest.raises(ValueError, match="SGD holds none of the coordinates"):
        call(net, early)


def test_a_state_that_is_not_carried_is_named():
    net = layer()
    optimizer = Schedulefree(net.parameters(), lr=0.01)
    train(net, optimizer, 1)
    with pytest.warns(UserWarning, match="state 'z' of Schedulefree stays as it is"):
        tm.rebase_(net, optimizer)


def test_coordinates_that_are_computed_are_refused():
    net = nn.Linear(4, 4)
    tm.parametrize.register_parametrization(net, "weight", nn.Identity())
    tm.constrain(net, "weight", tm.SpecialOrthogonal())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for call in (lambda: tm.rebase_(net), lambda: tm.optim.rebase_every(net, optimizer)):
        with pytest.raises(ValueError, match="computed by Identity, registered before"):
            call()


def test_lbfgs_converges_if_it_is_rebased():
    """Procrustes: 20 calls of `step`, of 20 iterations each at most."""
    norms = []
    for steps in (1, 10**6):
        net = layer((5, 40))
        generator = torch.Generator().manual_seed(1)
        target = torch.randn(40, 5, generator=generator, dtype=F64)
        a = torch.randn(80, 40, generator=generator, dtype=F64) / 9

        def loss(w, a=a, target=target):
            return (a @ (w - target)).square().sum()

        options = {"line_search_fn": "strong_wolfe", "tolerance_change": 1e-14}
        optimizer = torch.optim.LBFGS(net.parameters(), **options)
        tm.optim.rebase_every(net, optimizer, steps=steps)

        def closure(net=net, optimizer=optimizer, loss=loss):
            optimizer.zero_grad()
            value = loss(net.weight)
            value.backward()
            return value

        for _ in range(20):
            optimizer.step(closure)
        x = net.weight.detach().requires_grad_()
        gradient = torch.autograd.grad(loss(x), x)[0]
        norms.append(float(tm.Stiefel().tangent(x, gradient).detach().norm()))
    assert norms[0] < 1e-5
    assert norms[1] > 1e-2
