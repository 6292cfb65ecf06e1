"""Code for ``torch.nn.utils.parametrize`` runs unchanged; each test runs on both libraries."""

import inspect

import pytest
import torch
import torch.nn.utils.parametrize as peer
from torch import nn
from torch.nn.utils import parametrizations

import torchmanifold.parametrize as parametrize

pytestmark = pytest.mark.parametrize("library", [parametrize, peer], ids=["ours", "torch"])


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, x):
        return x.triu()


class Skew(nn.Module):
    def forward(self, x):
        a = x.triu(1)
        return a - a.mT


class Exponential(nn.Module):
    def forward(self, x):
        return torch.matrix_exp(x)


class RankOne(nn.Module):
    def forward(self, x, y):
        return x.unsqueeze(-1) @ y.unsqueeze(-2)

    def right_inverse(self, z):
        u, s, vh = torch.linalg.svd(z, full_matrices=False)
        root = s[0].sqrt()
        return u[..., :, 0] * root, vh[..., 0, :] * root


class Double(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


def test_names_and_arguments(library):
    for name in peer.__all__:
        mine = inspect.signature(getattr(library, name)).parameters
        theirs = inspect.signature(getattr(peer, name)).parameters
        for parameter in theirs:
            assert mine[parameter].kind == theirs[parameter].kind
            assert mine[parameter].default == theirs[parameter].default


def test_structure(library):
    module, tensor = nn.Linear(3, 3), None
    tensor = module.weight
    assert library.register_parametrization(module, "weight", Symmetric()) is module
    for ask in (library.is_parametrized, peer.is_parametrized, parametrize.is_parametrized):
        assert ask(module) and ask(module, "weight") and not ask(module, "bias")
        assert not ask(nn.Linear(1, 1))
    assert type(module).__name__ == "ParametrizedLinear" and isinstance(module, nn.Linear)
    assert library.type_before_parametrizations(module) is nn.Linear
    assert peer.type_before_parametrizations(module) is nn.Linear
    assert library.type_before_parametrizations(nn.Linear(1, 1)) is nn.Linear
    assert isinstance(module.parametrizations, nn.ModuleDict)
    assert isinstance(module.parametrizations.weight, library.ParametrizationList)
    assert isinstance(module.parametrizations.weight[0], Symmetric)
    assert module.parametrizations.weight.original is tensor
    assert "weight" not in module._parameters
    assert [name for name, _ in module.named_parameters()] == [
        "bias",
        "parametrizations.weight.original",
    ]
    assert "(parametrizations): ModuleDict" in repr(module) and "(0): Symmetric()" in repr(module)
    assert torch.equal(module.weight, module.weight.mT)
    assert library.remove_parametrizations(module, "weight") is module
    assert type(module) is nn.Linear and module.weight is tensor
    assert not hasattr(module, "parametrizations")
    assert torch.equal(module.weight, module.weight.mT)


def test_two_tensors_of_one_module(library):
    module = nn.Linear(3, 3)
    library.register_parametrization(module, "weight", Skew())
    library.register_parametrization(module, "weight", Exponential())
    library.register_parametrization(module, "bias", Double())
    torch.testing.assert_close(module.weight @ module.weight.mT, torch.eye(3))
    assert len(list(module.parameters())) == 2
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = module.weight.detach().clone()
    module(torch.randn(2, 3)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(module.weight, before)
    library.remove_parametrizations(module, "weight", leave_parametrized=False)
    assert library.is_parametrized(module, "bias") and not library.is_parametrized(module, "weight")
    library.remove_parametrizations(module, "bias")
    assert type(module) is nn.Linear
    optimizer.step()


def test_buffers(library):
    module = nn.BatchNorm1d(3)
    library.register_parametrization(module, "running_var", Double())
    torch.testing.assert_close(module.running_var, torch.ones(3))
    assert "parametrizations.running_var.original" in dict(module.named_buffers())
    library.remove_parametrizations(module, "running_var")
    assert "running_var" in module._buffers


def test_parametrizing_an_original(library):
    module = nn.Linear(3, 3)
    library.register_parametrization(module, "weight", Double())
    chain = module.parametrizations.weight
    library.register_parametrization(chain, "original", Symmetric())
    assert library.is_parametrized(chain, "original")
    assert torch.equal(module.weight, module.weight.mT)
    module(torch.randn(2, 3)).sum().backward()
    library.remove_parametrizations(chain, "original", leave_parametrized=False)
    assert type(chain) is library.ParametrizationList
    library.remove_parametrizations(module, "weight", leave_parametrized=False)
    assert type(module) is nn.Linear


def test_several_originals(library):
    module = nn.Linear(4, 4)
    library.register_parametrization(module, "weight", RankOne())
    chain = module.parametrizations.weight
    assert not chain.is_tensor and chain.ntensors == 2
    assert chain.original0.shape == (4,) and chain.original1.requires_grad
    assert torch.linalg.matrix_rank(module.weight) == 1
    library.register_parametrization(module, "weight", Double())
    value = torch.ones(4, 4)
    module.weight = value
    torch.testing.assert_close(module.weight, value)
    module(torch.randn(2, 4)).sum().backward()
    assert chain.original0.grad is not None
    with pytest.raises(ValueError, match="leave_parametrized=False"):
        library.remove_parametrizations(module, "weight", leave_parametrized=False)
    library.remove_parametrizations(module, "weight")
    assert isinstance(module.weight, nn.Parameter)
    torch.testing.assert_close(module.weight.detach(), value)


def test_unsafe_allows_other_shapes_and_dtypes(library):
    class Cut(nn.Module):
        def forward(self, x):
            return x[:1].double()

    module = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="may not change the dtype"):
        library.register_parametrization(module, "weight", Cut())
    library.register_parametrization(module, "weight", Cut(), unsafe=True)
    assert module.weight.shape == (1, 4) and module.weight.dtype == torch.float64
    library.register_parametrization(module, "weight", Double())
    assert module.parametrizations.weight.unsafe
    library.remove_parametrizations(module, "weight", leave_parametrized=False)
    assert module.weight.shape == (4, 4)

    class Vector(nn.Module):
        def forward(self, x):
            return x.reshape(4, 4)

        def right_inverse(self, x):
            return x.reshape(-1)

    tensor = module.weight
    library.register_parametrization(module, "weight", Vector())
    assert module.parametrizations.weight.original is tensor and tensor.shape == (16,)
    library.remove_parametrizations(module, "weight")
    assert module.weight is tensor and tensor.shape == (4, 4)


def failing(forward, right_inverse=None):
    methods = {"forward": forward}
    if right_inverse is not None:
        methods["right_inverse"] = right_inverse
    return type("Failing", (nn.Module,), methods)()


@pytest.mark.parametrize(
    ("forward", "right_inverse", "message"),
    [
        (lambda s, x: [x], None, "A parametrization must return a tensor. Got list"),
        (lambda s, x: x.bool(), None, "may not change the dtype"),
        (lambda s, x: x[:-1], None, "may not change the shape"),
        (lambda s, x: x, lambda s, x: None, "must return a Tensor or a Sequence of tensors"),
        (lambda s, x: x, lambda s, x: (x, 1), "Got element 1 of the sequence with type int"),
        (lambda s, x: x, lambda s, x: x.bool(), "it may not change the dtype"),
    ],
)
def test_errors_of_the_first_registration(library, forward, right_inverse, message):
    module = nn.Linear(3, 3)
    with pytest.raises(ValueError, match=message):
        library.register_parametrization(module, "weight", failing(forward, right_inverse))
    assert type(module) is nn.Linear and "weight" in module._parameters


@pytest.mark.parametrize(
    ("forward", "right_inverse", "message"),
    [
        (lambda s, x: None, None, "A parametrization must return a tensor. Got NoneType"),
        (lambda s, x: x.bool(), None, "may not change the dtype"),
        (lambda s, x: x[:-1], None, "may not change the shape"),
        (lambda s, x: x, lambda s, x: None, "right_inverse must return a tensor. Got: NoneType"),
        (lambda s, x: x, lambda s, x: x.bool(), "must have the same dtype as module.weight"),
        (lambda s, x: x, lambda s, x: x[:-1], "must have the same shape as module.weight"),
    ],
)
def test_errors_of_a_further_registration(library, forward, right_inverse, message):
    module = library.register_parametrization(nn.Linear(3, 3), "weight", Double())
    with pytest.raises(ValueError, match=message):
        library.register_parametrization(module, "weight", failing(forward, right_inverse))
    assert len(module.parametrizations.weight) == 1


def test_other_errors(library):
    module = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="does not have a parameter"):
        library.register_parametrization(module, "foo", Double())
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        library.remove_parametrizations(module, "weight")
    with pytest.raises(ValueError, match="requires one or more modules"):
        library.ParametrizationList([], module.weight)
    library.register_parametrization(module, "weight", Skew())
    with pytest.raises(RuntimeError, match="does not implement"):
        module.weight = torch.zeros(3, 3)
    with pytest.raises(ValueError, match="does not have a parametrization on bias"):
        library.remove_parametrizations(module, "bias")
    raising = failing(lambda s, x: x, lambda s, x: [x] if x.sum() < 0 else x)
    module = library.register_parametrization(nn.Linear(3, 3), "bias", Double())
    library.register_parametrization(module, "bias", raising, unsafe=True)
    two = library.register_parametrization(nn.Linear(4, 4), "weight", RankOne())
    two.parametrizations.weight[0].right_inverse = lambda z: (z,)
    with pytest.raises(ValueError, match="sequence of tensors of length 2. Got a sequence of le"):
        two.weight = torch.ones(4, 4)


def test_no_right_inverse_is_the_identity(library):
    def refuse(self, x):
        raise NotImplementedError

    module = nn.Linear(3, 3)
    before = module.weight.detach().clone()
    library.register_parametrization(module, "weight", failing(lambda s, x: 3 * x, refuse))
    assert torch.equal(module.parametrizations.weight.original, before)
    with pytest.raises(NotImplementedError):
        module.weight = before


def test_training_mode_is_that_of_the_module(library):
    module = nn.Linear(3, 3).eval()
    library.register_parametrization(module, "weight", Double())
    assert not module.parametrizations.weight[0].training


def test_gradients_of_frozen_tensors(library):
    module = nn.Linear(4, 4)
    module.weight.requires_grad_(False)
    library.register_parametrization(module, "weight", RankOne())
    assert not module.parametrizations.weight.original0.requires_grad
    assert isinstance(module.parametrizations.weight.original0, nn.Parameter)
    assert not module.weight.requires_grad


def test_transfer(library):
    source, target = nn.Linear(4, 4), nn.Linear(4, 4)
    library.register_parametrization(source, "weight", RankOne())
    library.register_parametrization(source, "bias", Double())
    assert library.transfer_parametrizations_and_params(nn.Linear(1, 1), target) is target
    assert not library.is_parametrized(target)
    library.transfer_parametrizations_and_params(source, target, "bias")
    assert not library.is_parametrized(target, "weight")
    assert target.parametrizations.bias[0] is source.parametrizations.bias[0]
    assert target.parametrizations.bias.original is source.parametrizations.bias.original
    del target.weight
    library.transfer_parametrizations_and_params(source, target, "weight")
    assert torch.equal(source.weight, target.weight)
    other = nn.Module()
    library.transfer_parametrizations_and_params(source, other)
    assert torch.equal(other.weight, source.weight) and torch.equal(other.bias, source.bias)


def test_state_dicts_have_the_same_keys_and_load_into_each_other(library):
    other = peer if library is parametrize else parametrize

    def build(library):
        module = nn.Linear(4, 4)
        library.register_parametrization(module, "weight", RankOne())
        library.register_parametrization(module, "weight", Double())
        library.register_parametrization(module, "bias", parametrizations._WeightNorm(0))
        return module

    source, target = build(library), build(other)
    assert list(source.state_dict()) == list(target.state_dict())
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.weight, source.weight) and torch.equal(target.bias, source.bias)


def test_torch_removes_what_this_registered(library):
    module, twin = nn.Linear(3, 3), nn.Linear(3, 3)
    for m in (module, twin):
        library.register_parametrization(m, "weight", Symmetric())
    peer.remove_parametrizations(module, "weight")
    assert type(module) is nn.Linear and module.weight.shape == (3, 3)
    assert torch.equal(twin.weight, twin.weight.mT)


def test_parametrizations_of_torch(library):
    """The parametrization modules of torch, registered with either library."""
    module = nn.Linear(4, 3)
    norm = parametrizations._SpectralNorm(module.weight.detach(), n_power_iterations=20)
    library.register_parametrization(module, "weight", norm)
    assert torch.linalg.matrix_norm(module.weight, 2) < 1.01
    module = nn.Linear(4, 4)
    orthogonal = parametrizations._Orthogonal(
        module.weight, parametrizations._OrthMaps.cayley, use_trivialization=True
    )
    library.register_parametrization(module, "weight", orthogonal, unsafe=True)
    module.weight = torch.linalg.qr(torch.randn(4, 4)).Q
    torch.testing.assert_close(module.weight @ module.weight.mT, torch.eye(4))


def test_modules_that_torch_parametrized(library):
    module = parametrizations.weight_norm(nn.Linear(3, 3))
    library.register_parametrization(module, "weight", Double())
    library.register_parametrization(module, "bias", Double())
    module(torch.randn(2, 3)).sum().backward()
    library.remove_parametrizations(module, "bias")
    library.remove_parametrizations(module, "weight")
    assert type(module) is nn.Linear


def test_torch_parametrizes_a_further_tensor(library):
    module = library.register_parametrization(nn.Linear(3, 3), "bias", Double())
    parametrizations.weight_norm(module)
    with library.cached():
        module(torch.randn(2, 3)).sum().backward()
    module.load_state_dict(module.state_dict())
    peer.remove_parametrizations(module, "weight")
    library.remove_parametrizations(module, "bias")
    assert type(module) is nn.Linear
