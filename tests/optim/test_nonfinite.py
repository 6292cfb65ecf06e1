"""Steps that are not finite: made, skipped on the device, or refused before any weight moves."""

import copy
import math

import pytest
import torch
from mixed import Mixed, batch
from torch import nn

import torchmanifold as tm

CASES = [
    (tm.optim.RiemannianSGD, {"lr": 0.1}),
    (tm.optim.RiemannianSGD, {"lr": 0.1, "momentum": 0.9}),
    (tm.optim.RiemannianAdam, {"lr": 0.01, "amsgrad": True}),
    (tm.optim.RiemannianMuon, {"lr": 0.01}),
]


def poisoned(model, step):
    """Gradients of a batch, with a NaN or an infinity in those of some weights."""
    model.zero_grad()
    model(batch(model, step)).pow(2).sum().backward()
    if step % 2:
        weights = [model.layers[1].weight, model.unit, model.head.bias]
        for p, value in zip(weights, (float("nan"), float("inf"), float("-inf")), strict=True):
            p.grad.view(-1)[0] = value
        return weights
    return []


def snapshot(model, optimizer):
    return [
        (p.detach().clone(), {k: v.clone() for k, v in optimizer.state[p].items()})
        for p in model.parameters()
    ]


@pytest.mark.parametrize(("ours", "options"), CASES)
def test_skip_leaves_those_weights_alone_and_counts(ours, options):
    torch.manual_seed(1)
    model = Mixed()
    optimizer = ours(model, **options, nonfinite="skip")
    for step in range(6):
        bad = poisoned(model, step)
        before = snapshot(model, optimizer)
        optimizer.step()
        for p, (old, state) in zip(model.parameters(), before, strict=True):
            skipped = any(p is q for q in bad)
            assert torch.equal(p, old) == skipped
            assert optimizer.state[p]["skipped"] == (0 if not state else state["skipped"]) + skipped
            for name, value in state.items():
                # The step counts of ordinary weights live on the host, where they are on a GPU.
                if skipped and name != "skipped":
                    assert torch.equal(optimizer.state[p][name], value)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert max(model.residuals()) < 1e-5


@pytest.mark.parametrize(("ours", "options"), CASES)
def test_skipping_a_first_step(ours, options):
    """After a skipped first step, the second is the first."""
    torch.manual_seed(1)
    model = Mixed()
    other = copy.deepcopy(model)
    late, fresh = ours(model, **options, nonfinite="skip"), ours(other, **options)
    for p in model.parameters():
        p.grad = torch.full_like(p, float("nan"))
    late.step()
    for m, optimizer in ((model, late), (other, fresh)):
        m.zero_grad()
        m(batch(m)).pow(2).sum().backward()
        optimizer.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


@pytest.mark.parametrize("step", [1, 0])
@pytest.mark.parametrize(("ours", "options"), CASES)
def test_raise_moves_nothing(ours, options, step):
    torch.manual_seed(1)
    model = Mixed()
    optimizer = ours(model, **options, nonfinite="raise")
    poisoned(model, 0)
    optimizer.step()
    poisoned(model, 1)
    if step == 0:  # the only bad one is an ordinary weight
        model.zero_grad()
        model(batch(model)).pow(2).sum().backward()
        model.head.bias.grad[0] = float("nan")
    before = snapshot(model, optimizer)
    with pytest.raises(FloatingPointError, match="no weight was moved"):
        optimizer.step()
    for p, (old, state) in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, old)
        assert all(torch.equal(optimizer.state[p][name], v) for name, v in state.items())


def test_raise_sees_a_step_that_overflows():
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
    optimizer = tm.optim.RiemannianSGD(layer, lr=1e30, nonfinite="raise")
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn(4, 4) * 1e30
    with pytest.raises(FloatingPointError):
        optimizer.step()
    assert torch.equal(layer.weight, before)


def test_by_default_they_propagate():
    model = Mixed()
    optimizer = tm.optim.RiemannianSGD(model, lr=0.1)
    poisoned(model, 1)
    with pytest.warns(RuntimeWarning, match="is no longer finite"):
        optimizer.step()
    assert torch.isnan(model.layers[1].weight).any()
    assert torch.isnan(model.unit).any()
    assert torch.isfinite(model.layers[0].weight).all()  # its neighbour in the batch


@pytest.mark.parametrize("nonfinite", ["propagate", "skip", "raise"])
@pytest.mark.parametrize(("ours", "options"), CASES)
def test_finite_steps_are_the_same_in_every_mode(ours, options, nonfinite):
    torch.manual_seed(1)
    model = Mixed()
    other = copy.deepcopy(model)
    for m, mode in ((model, nonfinite), (other, "propagate")):
        optimizer = ours(m, **options, nonfinite=mode)
        for step in (0, 2, 4):
            poisoned(m, step)
            optimizer.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("optimizer", [tm.optim.RiemannianSGD, tm.optim.RiemannianAdam])
def test_a_weight_that_is_not_finite_any_more_is_told_once(optimizer):
    p = tm.place_(nn.Parameter(torch.eye(3)), tm.Stiefel())
    moving = optimizer([p], lr=0.1)
    for step in range(1, 9):
        p.grad = torch.full((3, 3), math.nan if step >= 3 else 0.1)
        if step == 4:  # the weights are checked after the steps 1, 2, 4, 8, ...
            with pytest.warns(RuntimeWarning, match='is no longer finite.*nonfinite="skip"'):
                moving.step()
        else:
            moving.step()
