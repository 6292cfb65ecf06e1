"""Averages of constrained models stay on the manifold, and are those of the values."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import torchmanifold as tm
from torchmanifold.weights.averaging import average_

HOW = pytest.mark.parametrize("how", ["parametrized", "riemannian"])


def network(how):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 6))
    tm.constrain(model[0], "weight", tm.Stiefel(), how=how)
    tm.constrain(model[2], "weight", tm.SpecialOrthogonal(), how=how)
    return model


@torch.no_grad()
def scatter(model):
    """Other values, at other bases."""
    for layer, manifold in ((model[0], tm.Stiefel()), (model[2], tm.SpecialOrthogonal())):
        value = manifold.random(*layer.weight.shape)
        if tm.parametrize.is_parametrized(layer):
            layer.weight = value
        else:
            layer.weight.copy_(value)
    for tensor in (model[0].bias, model[1].weight, model[1].running_mean):
        tensor.add_(torch.randn(6))


@HOW
def test_the_mean_of_the_values_is_projected(how):
    model = network(how)
    average = copy.deepcopy(model)
    scatter(model)
    before = [average[i].weight.detach().clone() for i in (0, 2)]
    assert average_(average, model, 0.75) is average
    for i, manifold, x in zip((0, 2), (tm.Stiefel(), tm.SpecialOrthogonal()), before, strict=True):
        y = model[i].weight.detach()
        expected = manifold.project(0.75 * x + 0.25 * y)
        torch.testing.assert_close(average[i].weight.detach(), expected)
        assert manifold.residual(average[i].weight) < 1e-5
        assert tm.manifold_of(average[i], "weight") == manifold
    assert not torch.allclose(model[0].weight, average[0].weight)


@HOW
def test_what_is_free_moves_as_in_torch(how):
    model = network(how)
    ours, theirs = (
        copy.deepcopy(model),
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
    )
    theirs.update_parameters(model)  # the first time it copies
    for _ in range(3):
        scatter(model)
        average_(ours, model, 0.9)
        theirs.update_parameters(model)
    for module, name in (
        (0, "bias"),
        (1, "weight"),
        (1, "running_mean"),
        (1, "num_batches_tracked"),
    ):
        torch.testing.assert_close(
            getattr(ours[module], name), getattr(theirs.module[module], name)
        )


def test_torch_averages_coordinates_of_different_bases():
    model = tm.constrain(nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
    torchs, ours = AveragedModel(model), copy.deepcopy(model)
    torchs.update_parameters(model)
    for _ in range(3):
        model.weight = tm.SpecialOrthogonal().random(4, 4)
    # The averaged coordinates are all zero, so its "average" is the last base.
    torchs.update_parameters(model)
    torch.testing.assert_close(torchs.module.weight, model.weight)
    average_(ours, model, 0.5)
    assert not torch.allclose(ours.weight, model.weight, atol=1e-2)


@HOW
@pytest.mark.parametrize(
    ("make", "manifold", "options"),
    [
        (lambda: nn.Linear(5, 5), tm.SymmetricPositiveDefinite(), {}),
        (lambda: nn.Linear(5, 4), tm.FixedRank(2), {}),
        (lambda: nn.Linear(5, 3), tm.Stiefel(), {}),
        (lambda: nn.Linear(4, 3), tm.Sphere(), {}),
        (lambda: nn.Conv2d(2, 12, 2), tm.Stiefel(), {"flatten": True}),
        (lambda: nn.GRUCell(3, 4), tm.SpecialOrthogonal(), {"blocks": 3}),
    ],
    ids=["SPD", "FixedRank", "wide", "Sphere", "flatten", "blocks"],
)
def test_every_kind_of_weight(make, manifold, options, how):
    torch.manual_seed(0)
    average, model = make(), make()
    name = "weight_hh" if "blocks" in options else "weight"
    for module in (average, model):
        tm.constrain(module, name, manifold, how=how, **options)
    before = getattr(average, name).detach().clone()
    average_(average, model, 0.5)
    M = tm.manifold_of(average, name)
    after = getattr(average, name).detach()
    expected = M.project((before + getattr(model, name).detach()) / 2)
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=1e-4)
    assert (M.residual(after) <= 10 * M.tolerance(tuple(after.shape), after.dtype)).all()


def test_the_ends():
    model = network("parametrized")
    average = copy.deepcopy(model)
    scatter(model)
    before = average[0].weight.detach().clone()
    average_(average, model, 1)
    torch.testing.assert_close(average[0].weight.detach(), before)
    average_(average, model, 0.0)
    torch.testing.assert_close(average[0].weight, model[0].weight)


def test_tied_weights_are_averaged_once():
    encoder, decoder = nn.Linear(4, 4), nn.Linear(4, 4)
    tm.constrain(encoder, "weight", tm.Stiefel())
    tm.parametrize.register_parametrization(decoder, "weight", encoder.parametrizations.weight)
    model = nn.ModuleList([encoder, decoder])
    average = copy.deepcopy(model)
    x = average[0].weight.detach().clone()
    encoder.weight = tm.Stiefel().random(4, 4)
    average_(average, model, 0.5)
    expected = tm.Stiefel().project((x + encoder.weight.detach()) / 2)
    torch.testing.assert_close(average[1].weight.detach(), expected)


@HOW
def test_models_that_do_not_match_are_refused(how):
    model = network(how)
    average = copy.deepcopy(model)
    scatter(model)
    before = copy.deepcopy(average.state_dict())
    other = copy.deepcopy(model)
    tm.unconstrain(other[0], "weight")
    for wrong, match in ((other, "weight"), (nn.Linear(2, 2), "the models differ in")):
        with pytest.raises(ValueError, match=match):
            average_(average, wrong, 0.5)
    for decay in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="decay must be in"):
            average_(average, model, decay)
    after = average.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
