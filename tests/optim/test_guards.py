"""Refusals and warnings of an optimizer: no manifold, replaced weights, overwritten weights."""

import copy
import warnings

import pytest
import torch
from mixed import Mixed, run
from torch import nn

import torchmanifold as tm
from torchmanifold.optim import guards

OURS = [tm.optim.RiemannianSGD, tm.optim.RiemannianAdam, tm.optim.RiemannianRMSprop]
OURS += [tm.optim.RiemannianMuon, tm.optim.Landing]


def constrained(how="riemannian"):
    return tm.constrain(nn.Linear(8, 4), "weight", tm.Stiefel(), how=how)


@pytest.mark.parametrize("ours", OURS)
def test_one_warning_where_nothing_is_on_a_manifold(ours):
    plain = nn.Linear(2, 2)
    for params in (plain, plain.parameters(), [{"params": [plain.weight]}, {"params": plain.bias}]):
        with pytest.warns(UserWarning, match="none of the . weights is on a manifold") as seen:
            ours(params, lr=0.1)
        assert len(seen) == 1
        assert seen[0].filename == __file__


@pytest.mark.parametrize("how", ["riemannian", "parametrized"])
def test_no_warning_where_something_is(how):
    model = nn.Sequential(nn.Linear(4, 8), constrained(how))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for params in (model, model.parameters(), tm.optim.param_groups(copy.deepcopy(model))):
            tm.optim.RiemannianSGD(params, lr=0.1)


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("flat", [False, True], ids=["master", "flat"])
def test_copies_in_the_place_of_weights_are_refused(flat, steps):
    model = Mixed()
    optimizer = tm.optim.RiemannianSGD(model, lr=0.1)
    run(model, optimizer, steps)
    group = optimizer.param_groups[0]
    weights = group["params"]
    copies = [p.detach().clone().requires_grad_() for p in weights]
    group["params"] = [torch.cat([c.flatten() for c in copies])] if flat else copies
    with pytest.raises(RuntimeError, match="is gone from the parameter groups"):
        optimizer.step()
    group["params"] = weights
    run(model, optimizer, 1)


def test_weights_may_leave_and_join_the_groups():
    layers = [constrained() for _ in range(2)]
    optimizer = tm.optim.RiemannianSGD(nn.ModuleList(layers), lr=0.1)
    optimizer.param_groups[0]["params"].pop(0)
    optimizer.step()
    optimizer.add_param_group({"params": [layers[0].weight, nn.Parameter(torch.ones(2))]})
    optimizer.step()


WRITES = {
    "reset_parameters": lambda layer: layer.reset_parameters(),
    "normal_": lambda layer: nn.init.normal_(layer.weight),
    "clamp_": lambda layer: layer.weight.detach().clamp_(-0.1, 0.1),
    "nan": lambda layer: nn.init.constant_(layer.weight, torch.nan),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("ours", OURS)
def test_a_weight_that_was_written_to_is_not_moved(ours, steps, write):
    layer = constrained()
    optimizer = ours(layer, lr=0.1)

    def step():
        optimizer.zero_grad()
        layer(torch.ones(2, 8)).pow(2).sum().backward()
        optimizer.step()

    for _ in range(steps):
        step()
    write(layer)
    before = layer.weight.detach().clone()
    for _ in range(2):  # it stays refused
        with pytest.raises(RuntimeError, match=r"shape \(4, 8\).*initialize weights before"):
            step()
    assert torch.equal(layer.weight.nan_to_num(), before.nan_to_num())
    layer.weight.detach().nan_to_num_(1.0)
    layer.load_state_dict(tm.project_state_dict(layer, layer.state_dict()))
    step()


def test_values_are_looked_at_only_after_somebody_has_written(monkeypatch):
    """The check must not read values, or each step would wait for the device."""
    looked = []
    check = guards.check_point
    monkeypatch.setattr(guards, "check_point", lambda *a: (looked.append(1), check(*a)))
    model = Mixed()
    optimizer = tm.optim.RiemannianAdam(model, lr=0.1)
    run(model, optimizer, 5)
    weights = len(tm.report(model))
    assert len(looked) == weights
    nn.init.orthogonal_(model.layers[0].weight)
    run(model, optimizer, 5)
    assert len(looked) == 2 * weights
