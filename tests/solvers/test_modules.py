"""A module as the point of a solver: its weights move along their manifolds, to the optimum."""

import copy

import pytest
import torch
from torch import nn

import torchmanifold as tm

F64 = torch.float64


class Scaled(nn.Module):
    """A map with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=F64))

    def forward(self, x):
        return self.scale * x


def network(how, **constrained):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    tm.constrain(net[0], "weight", tm.Stiefel(), how=how, **constrained)
    return net


def data():
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0), dtype=F64)
    return x, torch.sin(x[:, :2])


def loss(net, x, y):
    return (net(x) - y).square().mean()


@pytest.mark.parametrize("method", ["trust-region", "lbfgs"])
@pytest.mark.parametrize("how", ["parametrized", "riemannian"])
def test_the_weights_move_as_tensors_would(how, method):
    net, (x, y) = network(how), data()
    start = {"w": net[0].weight, "b": net[0].bias, "v": net[2].weight, "c": net[2].bias}
    start = {name: value.detach().clone() for name, value in start.items()}
    manifolds = {"w": tm.manifold_of(net[0], "weight")} | dict.fromkeys("bvc")
    tensors = tm.minimize(
        lambda p: (torch.tanh(x @ p["w"].mT + p["b"]) @ p["v"].mT + p["c"] - y).square().mean(),
        start, manifolds, method, tol=1e-6,
    )  # fmt: skip
    found = tm.minimize(loss, net, method=method, args=(x, y), tol=1e-6)
    assert found.success and list(found.x) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert found.fun == pytest.approx(tensors.fun, rel=1e-6)
    assert found.nit == pytest.approx(tensors.nit, rel=0.1)
    # The module is left there, constrained as it was, and trains on.
    assert float(loss(net, x, y).detach()) == pytest.approx(found.fun, rel=1e-12)
    torch.testing.assert_close(net[0].weight.detach(), found.x["0.weight"], atol=1e-14, rtol=0)
    (row,) = tm.report(net)
    assert row.how == how and row.residual < 1e-14
    if how == "parametrized":
        assert not net[0].parametrizations.weight.original.any()
    again = tm.minimize(loss, net, args=(x, y), tol=1e-6)
    assert again.nit == 0
    optimizer = tm.optim.RiemannianSGD(net, lr=0.1)
    loss(net, x, y + 1).backward()
    optimizer.step()
    assert loss(net, x, y) > found.fun + 1e-4 and tm.report(net).rows[0].residual < 1e-14


def test_every_kind_of_weight_has_its_place():
    """Blocks, a map after the trivialization, a shared parameter, a frozen one, torch's own map."""
    rnn = nn.GRU(2, 3).double()
    tm.constrain(rnn, "weight_hh_l0", tm.SpecialOrthogonal(), blocks=3)
    head = nn.Linear(3, 3, bias=False).double()
    tm.constrain(head, "weight", tm.SpecialOrthogonal())
    tm.parametrize.register_parametrization(head, "weight", Scaled())
    last = nn.utils.parametrizations.weight_norm(nn.Linear(3, 1)).double()
    last.bias.requires_grad_(False)
    twin = nn.Linear(2, 3).double()
    twin.weight = rnn.weight_ih_l0
    net = nn.ModuleDict({"rnn": rnn, "head": head, "last": last, "twin": twin})
    x = torch.randn(6, 4, 2, dtype=F64)

    def cost(net):
        out, _ = net["rnn"](x)
        return (net["last"](net["head"](out)) - x.sum(-1, keepdim=True).cumsum(0)).square().mean()

    frozen, first = last.bias.clone(), cost(net).item()
    found = tm.minimize(cost, net, stop=tm.stop.Iterations(5))
    assert found.fun < 0.9 * first and cost(net).item() == pytest.approx(found.fun, rel=1e-10)
    assert torch.equal(last.bias, frozen) and twin.weight is rnn.weight_ih_l0
    assert {"rnn.weight_hh_l0", "head.weight", "head.parametrizations.weight.1.scale"} < set(
        found.x
    )
    assert found.x["rnn.weight_hh_l0"].shape == (9, 3) and "last.bias" not in found.x
    assert sum("original" in name for name in found.x) == 2  # of torch's weight_norm
    assert head.parametrizations.weight[1].scale != 1
    assert all(row.residual < 1e-14 for row in tm.report(net))


def test_residuals_constraints_and_states_of_a_module():
    net, (x, y) = network("parametrized"), data()
    squares = tm.least_squares(lambda net: (net(x) - y).flatten(), copy.deepcopy(net), tol=1e-5)
    assert squares.success and squares.residuals.shape == (60,)
    half = tm.minimize(loss, copy.deepcopy(net), args=(x, y), stop=tm.stop.Iterations(3))
    whole, rest = copy.deepcopy(net), copy.deepcopy(net)
    stop = tm.stop.Iterations(6)
    found = tm.minimize(loss, whole, args=(x, y), stop=stop)
    resumed = tm.minimize(loss, rest, args=(x, y), stop=stop, state=half.state)
    assert resumed.fun == found.fun and torch.equal(rest[0].weight, whole[0].weight)
    bound = tm.Inequality(lambda net, x, y: 0.5 - net[2].weight.square().sum())
    held = tm.minimize(loss, net, args=(x, y), constraints=bound, tol=1e-5)
    assert held.success and net[2].weight.square().sum() < 0.5 + 1e-5
    assert held.multipliers[0].shape == (1,) and held.multipliers[0] > 0


def test_a_module_that_is_refused_or_fails_stays_as_it_was():
    net, (x, y) = network("parametrized"), data()
    before = copy.deepcopy(net.state_dict())

    def interrupted(info):
        raise KeyboardInterrupt("enough")

    dropout = nn.Sequential(network("riemannian"), nn.Dropout(0.5))
    frozen = copy.deepcopy(net).requires_grad_(False)
    half = copy.deepcopy(net)
    half[2].float()
    for error, match, model, given in (
        (ValueError, "leave it out, got Stiefel", net, {"manifold": tm.Stiefel()}),
        (ValueError, "x0: no weight of this Sequential requires a gradient", frozen, {}),
        (ValueError, "two values at x0 differ.*model.eval", dropout, {}),
        (ValueError, r"x0\['2.weight'\]: its dtype and device", half, {}),
        (KeyboardInterrupt, "enough", net, {"callback": interrupted}),
    ):
        with pytest.raises(error, match=match):
            tm.minimize(lambda net: net(x).square().mean(), model, **given)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert tm.minimize(loss, net, args=(x, y), stop=tm.stop.Iterations(1)).nit == 1
