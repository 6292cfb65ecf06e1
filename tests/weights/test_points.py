"""Weights with further maps, before and after the trivialization."""

import copy

import pytest
import torch
from torch import nn

import torchmanifold as tm
import torchmanifold.parametrize as parametrize


class Scale(nn.Module):
    """A learned multiple."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return self.factor * x

    def right_inverse(self, x):
        return x / self.factor


class Seen(nn.Module):
    """Counts its evaluations."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        return x.clone()


def scaled(factor=2.0, library=parametrize):
    """A rotation times a factor."""
    layer = nn.Linear(4, 4, bias=False)
    if library is parametrize:
        tm.constrain(layer, "weight", tm.SpecialOrthogonal())
    else:
        layer.weight.data = tm.SpecialOrthogonal().random(4, 4)
        rotation = tm.Trivialization(tm.SpecialOrthogonal(), layer.weight)
        library.register_parametrization(layer, "weight", rotation)
    library.register_parametrization(layer, "weight", Scale(factor))
    return layer


def rotation_of(layer):
    return layer.weight.detach() / layer.parametrizations.weight[1].factor.detach()


@pytest.mark.parametrize("library", [parametrize, nn.utils.parametrize], ids=["ours", "torch"])
def test_a_map_registered_afterwards_hides_nothing(library):
    layer = scaled(library=library)
    assert tm.is_constrained(layer, "weight")
    assert tm.manifold_of(layer, "weight") == tm.SpecialOrthogonal()
    (row,) = tm.report(layer)
    assert row.how == "parametrized, then Scale" and row.residual < 1e-5
    with pytest.raises(ValueError, match="already constrained"):
        tm.constrain(layer, "weight", tm.Stiefel())
    value = layer.weight.detach().clone()
    tm.unconstrain(layer, "weight")
    assert torch.equal(layer.weight, value) and not tm.is_constrained(layer)


@pytest.mark.parametrize("library", [parametrize, nn.utils.parametrize], ids=["ours", "torch"])
def test_a_base_moves_below_later_maps(library):
    layer = scaled(library=library)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    tm.optim.rebase_every(layer, optimizer, steps=1)
    base = layer.parametrizations.weight[0].base.clone()
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.ones(2, 4)).pow(3).sum().backward()
        optimizer.step()
    moved = layer.parametrizations.weight[0].base
    assert not torch.allclose(base, moved) and not layer.parametrizations.weight.original.any()
    torch.testing.assert_close(rotation_of(layer), moved)
    assert tm.SpecialOrthogonal().residual(rotation_of(layer)) < 1e-5


def test_averages_are_taken_of_points_and_of_factors():
    average, model = scaled(1.0), scaled(3.0)
    x, y = rotation_of(average), rotation_of(model)
    tm.average_(average, model, decay=0.5)
    torch.testing.assert_close(rotation_of(average), tm.SpecialOrthogonal().project((x + y) / 2))
    assert average.parametrizations.weight[1].factor == 2


def test_plain_state_dicts_of_computed_weights_are_not_projected():
    layer, other = scaled(), scaled()
    saved = tm.project_state_dict(other, parametrize.plain_state_dict(layer))
    assert torch.equal(saved["weight"], layer.weight)
    other.load_state_dict(saved)
    torch.testing.assert_close(other.weight, layer.weight)


def test_a_report_moves_no_state():
    layer = scaled()
    parametrize.register_parametrization(layer, "weight", Seen(), unsafe=True)
    before = copy.deepcopy(layer.state_dict())
    tm.report(layer)
    parametrize.plain_state_dict(layer)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def preceded():
    """A weight that had a map before it was constrained."""
    layer = nn.Linear(4, 4, bias=False)
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    return tm.constrain(layer, "weight", tm.SpecialOrthogonal())


def test_a_base_whose_coordinates_are_computed_is_not_moved_in_silence():
    model = nn.ModuleDict({"free": scaled(), "bound": preceded()})
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for move in (
        lambda: tm.rebase_(model),
        lambda: tm.optim.rebase_every(model, optimizer, steps=1),
    ):
        with pytest.raises(ValueError, match="'bound.weight' are computed by Identity"):
            move()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    (row,) = tm.report(model["bound"])
    assert row.how == "parametrized" and row.residual < 1e-5


def test_a_point_between_maps_is_not_averaged():
    model = preceded()
    parametrize.register_parametrization(model, "weight", Scale())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="Identity, a trivialization and Scale"):
        tm.average_(model, copy.deepcopy(model), decay=0.5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
