"""Checkpoints across: plain into constrained, checked or projected, and back."""

import io

import pytest
import torch
from torch import nn

import torchmanifold as tm

both_ways = pytest.mark.parametrize("how", ["parametrized", "riemannian"])


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4))


def constrained(how: str) -> nn.Module:
    model = network()
    tm.constrain(model[0], "weight", tm.Stiefel(), how=how)
    tm.constrain(model[1], "weight", tm.SpecialOrthogonal(), how=how)
    return model


def values(model: nn.Module) -> list[torch.Tensor]:
    return [t.detach().clone() for layer in model for t in (layer.weight, layer.bias)]


@both_ways
def test_values_off_the_manifold_are_refused_and_the_weights_stay(how):
    model = constrained(how)
    before = values(model)
    with pytest.raises(RuntimeError, match=r"not on .*residual is"):
        model.load_state_dict(network().state_dict())
    for index in (0, 2):  # the weights; biases are loaded, as PyTorch does on errors
        torch.testing.assert_close(values(model)[index], before[index])


@both_ways
def test_values_off_the_manifold_are_projected_if_the_caller_says_so(how):
    model, plain = constrained(how), network()
    model.load_state_dict(tm.project_state_dict(model, plain.state_dict()))
    for layer, other in zip(model, plain, strict=True):
        nearest = tm.manifold_of(layer, "weight").project(other.weight.detach())
        torch.testing.assert_close(layer.weight.detach(), nearest, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(layer.bias, other.bias)
    assert all(row.residual < 1e-5 for row in tm.report(model))


@both_ways
def test_a_checkpoint_of_values_goes_round(how):
    model = constrained(how)
    state = tm.parametrize.plain_state_dict(model)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    plain = network()
    plain.load_state_dict(state)  # all keys are those of the unconstrained model
    other = constrained("riemannian" if how == "parametrized" else "parametrized")
    other.load_state_dict(state)
    for mine, theirs in zip(values(model), values(other), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=1e-5)


def test_what_cannot_be_projected_is_refused():
    model = constrained("parametrized")
    state = network().state_dict()
    state["1.weight"][0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"'1\.weight': 1 of 16 entries"):
        tm.project_state_dict(model, state)


@both_ways
def test_a_model_converted_to_float64_loads_its_own_checkpoint(how):
    """Its values are those of float32."""
    layer = tm.constrain(nn.Linear(6, 4), "weight", tm.Stiefel(), how=how).double()
    values = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.load_state_dict(values)
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in values.items())
