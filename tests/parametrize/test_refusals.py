"""Refusals name a remedy and change nothing, and the remedy works."""

import copy

import pytest
import torch
from torch import nn

import torchmanifold.parametrize as parametrize


class Shift(nn.Module):
    """Adds a base, which an assignment moves."""

    def __init__(self, base):
        super().__init__()
        self.register_buffer("base", base.clone())

    def forward(self, v):
        return v + self.base

    def right_inverse(self, x):
        self.base.copy_(x)
        return torch.zeros_like(x)


def shifted(layer, name="weight"):
    tensor = getattr(layer, name)
    return parametrize.register_parametrization(layer, name, Shift(torch.zeros_like(tensor)))


# A map that holds the module


class Masked(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, w):
        layer = self.layer[0] if isinstance(self.layer, list) else self.layer
        return layer.mask * w


def masked():
    layer = nn.Linear(3, 2)
    layer.register_buffer("mask", torch.eye(2, 3))
    return layer


@pytest.mark.parametrize("within", [lambda layer: layer, lambda layer: nn.Sequential(layer)])
def test_a_map_that_holds_its_module_is_refused(within):
    layer = masked()
    with pytest.raises(ValueError, match=r"would never end.*self.layer = \[layer\]"):
        parametrize.register_parametrization(layer, "weight", Masked(within(layer)))
    assert type(layer) is nn.Linear and "weight" in dict(layer.named_parameters())


def test_a_list_of_maps_that_hold_a_module_is_not_tied_to_it():
    source, target = masked(), masked()
    parametrize.register_parametrization(source, "weight", Masked(target))
    for tie in (
        lambda: parametrize.transfer_parametrizations_and_params(source, target),
        lambda: parametrize.register_parametrization(
            target, "weight", source.parametrizations.weight
        ),
    ):
        with pytest.raises(ValueError, match="would never end"):
            tie()
    assert not parametrize.is_parametrized(target)


def test_a_map_may_hide_its_module_in_a_list():
    layer = masked()
    weight = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Masked([layer]))
    twin = copy.deepcopy(layer).eval()
    assert "Masked" in repr(twin) and len(twin.state_dict()) == 3
    twin.mask.zero_()
    assert torch.equal(layer.weight, weight * torch.eye(2, 3)) and not twin.weight.any()


def test_a_circle_that_is_made_later_can_be_read_as_in_torch():
    layer = masked()
    parametrize.register_parametrization(layer, "weight", Masked([layer]))
    layer.parametrizations.weight[0].layer = layer
    x = torch.ones(1, 3)
    with parametrize.cached(layer):
        assert torch.equal(layer(x), layer(x)) and layer.weight is layer.weight
        layer.mask.zero_()
        assert not layer.weight.any()


# functional_call with a value of the computed tensor


@pytest.mark.parametrize(
    ("net", "key", "x"),
    [
        (lambda: shifted(nn.Linear(3, 3)), "weight", torch.ones(2, 3)),
        (lambda: nn.Sequential(shifted(nn.Linear(3, 3))), "0.weight", torch.ones(2, 3)),
        (lambda: shifted(nn.RNN(3, 3), "weight_hh_l0"), "weight_hh_l0", torch.ones(2, 3)),
    ],
)
def test_functional_call_does_not_assign(net, key, x):
    net = net()
    before = copy.deepcopy(net.state_dict())
    bias = key.replace("weight", "bias")
    with pytest.raises(RuntimeError, match="functional_call was given a value"):
        torch.func.functional_call(net, {bias: torch.ones(3), key: torch.eye(3)}, (x,))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_what_functional_call_advises_has_gradients():
    layer, x = shifted(nn.Linear(3, 3)), torch.ones(2, 3)
    value = torch.randn(3, 3, requires_grad=True)
    key = "parametrizations.weight.original"
    torch.func.functional_call(layer, {key: value}, (x,)).sum().backward()
    plain = parametrize.remove_parametrizations(copy.deepcopy(layer), "weight")
    other = value.detach().clone().requires_grad_()
    torch.func.functional_call(plain, {"weight": other}, (x,)).sum().backward()
    assert torch.equal(value.grad, other.grad) and value.grad.any()
    layer.weight = value.detach()  # an assignment is not a functional_call
    assert torch.equal(layer.weight, value)


# requires_grad of the computed tensor


@pytest.mark.parametrize("inside", [False, True])
def test_a_flag_set_on_a_frozen_value_is_noticed(inside):
    layer, other = shifted(nn.Linear(3, 3)), shifted(nn.Linear(3, 3))
    model = nn.ModuleList([layer, other]).requires_grad_(False)
    context = parametrize.cached(model) if inside else torch.enable_grad()
    with context:
        layer.weight.requires_grad_()
        with pytest.raises(RuntimeError, match=r"parametrizations.weight.original.requires_grad_"):
            layer(torch.ones(1, 3))
        other.weight.sum()
        layer.weight.detach().requires_grad_().sum().backward()
        layer.parametrizations.weight.original.requires_grad_()
        layer.weight.sum().backward()
    assert layer.parametrizations.weight.original.grad.any()


def test_a_value_that_has_a_gradient_is_let_go():
    layer = shifted(nn.Linear(3, 3))
    watch = layer.parametrizations.weight._watch
    _ = layer.weight
    assert watch.frozen is None
    with torch.no_grad():
        _ = layer.weight
    assert watch.frozen is None


# Modules and tensors that cannot be parametrized


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_a_module_that_rescales_its_weight_is_refused(kind):
    table = kind(5, 3, max_norm=1.0)
    with pytest.raises(ValueError, match="Set module.max_norm = None"):
        shifted(table)
    table.max_norm = None
    assert shifted(table)(torch.tensor([[0, 1]])).isfinite().all()


def test_an_expanded_tensor_is_refused_by_name():
    module = nn.Module()
    module.w = nn.Parameter(torch.randn(1, 3).expand(4, 3))
    module.register_buffer("b", torch.zeros(()).expand(2))
    with pytest.raises(ValueError, match=r"'w' of Module is an expanded view of shape \(4, 3\)"):
        shifted(module, "w")
    with pytest.raises(ValueError, match=r"module.b = module.b.detach\(\).clone\(\)"):
        shifted(module, "b")
    value = module.w.detach()
    module.w = nn.Parameter(module.w.detach().clone())
    assert torch.equal(shifted(module, "w").w, value)


# TorchScript


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripting_is_refused_and_the_remedies_work():
    net, x = nn.Sequential(shifted(nn.Linear(3, 3))), torch.ones(2, 3)
    with pytest.raises(RuntimeError, match=r"torch.export.export.*torch.jit.trace.*remove_param"):
        torch.jit.script(net)
    y = net(x)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), y)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.trace(net, (x,))(x), y)
    plain = copy.deepcopy(net)
    parametrize.remove_parametrizations(plain[0], "weight")
    torch.testing.assert_close(torch.jit.script(plain)(x), y)
