"""What torch's layer gets wrong without a word, and this one gets right or refuses.

The failures of the cache are in test_cache.py, those of recurrent modules in test_recurrent.py.
Each test runs the same code on both libraries, so it also says when torch has mended one.
"""

import copy

import pytest
import torch
import torch.nn.utils.parametrize as peer
from torch import nn

import torchmanifold.parametrize as parametrize

both = pytest.mark.parametrize("library", [parametrize, peer], ids=["ours", "torch"])


class Skew(nn.Module):
    def forward(self, x):
        a = x.triu(1)
        return a - a.mT

    def right_inverse(self, x):
        return x.triu(1)


class Identity(nn.Module):
    def forward(self, x):
        return x

    def right_inverse(self, x):
        return x


class Shifted(nn.Module):
    """A map with a base: the right inverse moves it and starts at zero."""

    def __init__(self, base):
        super().__init__()
        self.register_buffer("base", torch.as_tensor(base).clone())

    def forward(self, x):
        return self.base + x

    def right_inverse(self, x):
        self.base = x.clone()
        return torch.zeros_like(x)


class Factors(nn.Module):
    def forward(self, x, y):
        return x @ y

    def right_inverse(self, z):
        u, s, vh = torch.linalg.svd(z, full_matrices=False)
        return u * s, vh


def linear(library, *maps, n=3, **kwargs):
    module = nn.Linear(n, n)
    for map in maps:
        library.register_parametrization(module, "weight", map, **kwargs)
    return module


@both
def test_removing_on_a_copy_leaves_the_original_parametrized(library):
    module = linear(library, Skew())
    value = module.weight
    library.remove_parametrizations(copy.deepcopy(module), "weight")
    if library is parametrize:
        assert torch.equal(module.weight, value)
    else:
        with pytest.raises(AttributeError):
            _ = module.weight


@both
def test_registering_on_a_copy_leaves_the_original_as_it_is(library):
    module = linear(library, Skew())
    library.register_parametrization(copy.deepcopy(module), "bias", Identity())
    if library is parametrize:
        assert module.bias is module._parameters["bias"]
    else:
        with pytest.raises(KeyError):
            _ = module.bias


@both
def test_tied_weights_cannot_get_two_values(library):
    encoder, decoder = nn.Linear(3, 3), nn.Linear(3, 3)
    decoder.weight = encoder.weight
    if library is parametrize:
        with pytest.warns(UserWarning, match="tied to one of another module"):
            library.register_parametrization(encoder, "weight", Skew())
        with pytest.raises(ValueError, match="tied tensors must share one value"):
            library.register_parametrization(decoder, "weight", Shifted(torch.ones(3, 3)))
        library.register_parametrization(decoder, "weight", encoder.parametrizations.weight)
        assert torch.equal(encoder.weight, decoder.weight)
        with library.cached():
            assert encoder.weight is decoder.weight
    else:
        library.register_parametrization(encoder, "weight", Skew())
        library.register_parametrization(decoder, "weight", nn.Softplus())
        assert not torch.equal(encoder.weight, decoder.weight)


IN_PLACE = {
    "init": lambda module: nn.init.zeros_(module.weight),
    "index": lambda module: module.weight.__setitem__(0, 0.0),
    "reset": lambda module: module.reset_parameters(),
    "no_grad": lambda module: torch.no_grad()(module.weight.add_)(1),
}


@both
@pytest.mark.parametrize("write", IN_PLACE)
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "cached"])
def test_in_place_writes_are_reported_at_the_next_read(library, write, inside):
    module = linear(library, Skew())
    before = module.weight.detach().clone()

    def write_and_read():
        IN_PLACE[write](module)
        return module.weight

    if library is parametrize:
        with pytest.raises(RuntimeError, match="modified in place"):
            if inside:
                with parametrize.cached():
                    write_and_read()
            else:
                write_and_read()
        assert torch.equal(module.weight, before)  # reported once, and nothing was lost
    elif not inside:
        assert torch.equal(write_and_read(), before)


def test_in_place_writes_that_take_effect_are_not_reported():
    module = linear(parametrize, Identity())
    with torch.no_grad():
        module.weight.fill_(2.0)
        assert (module.weight == 2).all()

    class Transpose(nn.Module):
        def forward(self, x):
            return x.mT

    module = linear(parametrize, Transpose())
    with torch.no_grad():
        module.weight[0] = 3.0
    assert (module.parametrizations.weight.original[:, 0] == 3).all()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module.weight.sum().backward()
    optimizer.step()
    _ = module.weight
    module.load_state_dict({k: v + 1 for k, v in module.state_dict().items()})
    _ = module.weight


def test_the_way_of_the_tutorial_to_initialize_is_not_reported():
    module = linear(parametrize, Skew())
    module.weight = nn.init.ones_(module.weight)
    assert torch.equal(module.weight, torch.ones(3, 3).triu(1) - torch.ones(3, 3).tril(-1))


@both
def test_a_failed_assignment_changes_nothing(library):
    module = linear(library, Shifted(torch.zeros(3, 3)))
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ValueError, match="dtype"):
        module.weight = torch.ones(3, 3, dtype=torch.float64)
    if library is parametrize:
        assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
        assert module.parametrizations.weight[0].base.dtype == torch.float32
    else:
        assert module.parametrizations.weight[0].base.dtype == torch.float64


def test_an_assignment_that_fails_half_way_restores_written_and_replaced_state():
    class Breaking(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("written", torch.zeros(2))
            self.register_buffer("replaced", torch.zeros(2))
            self.attribute = 1
            self.breaks = False

        def forward(self, x):
            return x

        def right_inverse(self, x):
            if self.breaks:
                self.written.fill_(5)
                self.replaced = torch.ones(2)
                self.attribute = 2
                raise ArithmeticError
            return x

    link = Breaking()
    module = linear(parametrize, link)
    written, replaced = link.written, link.replaced
    link.breaks = True
    with pytest.raises(ArithmeticError):
        module.weight = torch.ones(3, 3)
    assert link.written is written and link.replaced is replaced and link.attribute == 1
    assert not written.any()
    with pytest.raises(ArithmeticError):
        parametrize.register_parametrization(nn.Linear(3, 3), "weight", link)
    assert link.written is written and not written.any()


class Shrinking(nn.Module):
    def forward(self, x):
        return x[:1]

    def right_inverse(self, x):
        return torch.zeros_like(x)


@both
def test_a_failed_registration_changes_nothing(library):
    module = nn.Linear(3, 3)
    before, link = module.weight.detach().clone(), Shrinking().eval()
    with pytest.raises(ValueError, match="may not change the shape"):
        library.register_parametrization(module, "weight", link)
    assert type(module) is nn.Linear
    assert torch.equal(module.weight, before) == (library is parametrize)
    assert link.training is not (library is parametrize)


def test_a_failed_second_registration_changes_nothing():
    module = linear(parametrize, Shifted(torch.zeros(3, 3)))
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(module, "weight", Shrinking())
    assert len(module.parametrizations.weight) == 1
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


@both
def test_a_second_map_keeps_the_value_where_it_can(library):
    module = linear(library, Shifted(torch.zeros(3, 3)))
    before = module.weight.detach().clone()

    class Double(nn.Module):
        def forward(self, x):
            return 2 * x

        def right_inverse(self, x):
            return x / 2

    library.register_parametrization(module, "weight", Double())
    assert torch.allclose(module.weight, before) == (library is parametrize)


def test_a_second_map_composes_where_the_value_cannot_be_kept():
    module = linear(parametrize, Skew())
    before = copy.deepcopy(module.state_dict())

    class Exponential(nn.Module):
        def forward(self, x):
            return torch.matrix_exp(x)

        def right_inverse(self, x):
            raise ValueError("not orthogonal")

    skew = module.weight
    with torch.no_grad():
        expected = torch.matrix_exp(skew)
    chain = module.parametrizations.weight
    parametrize.register_parametrization(module, "weight", Exponential(), unsafe=True)
    torch.testing.assert_close(module.weight, expected)
    assert torch.equal(chain.original, before["parametrizations.weight.original"])


@both
def test_assignment_does_not_alias_the_tensor_of_the_caller(library):
    module = linear(library, Identity())
    mine = torch.ones(3, 3)
    module.weight = mine
    with torch.no_grad():
        module.parametrizations.weight.original.add_(1)
    assert (mine == 1).all() == (library is parametrize)
    module = nn.Linear(3, 3)
    factors = linear(library, Factors())
    left, right = torch.randn(3, 3), torch.randn(3, 3)
    factors.parametrizations.weight[0].right_inverse = lambda z: (left, right)
    factors.weight = torch.ones(3, 3)
    shared = factors.parametrizations.weight.original0.data_ptr() == left.data_ptr()
    assert shared == (library is peer)


def test_assignment_of_a_view_of_the_original():
    module = linear(parametrize, Identity())
    expected = module.weight.detach().mT.clone()
    module.weight = module.weight.mT
    assert torch.equal(module.weight, expected)


@both
def test_the_coordinates_of_one_map_do_not_load_into_another(library):
    source, target = linear(library, Skew()), linear(library, nn.Softplus())
    before = target.weight.detach().clone()
    if library is parametrize:
        with pytest.raises(RuntimeError, match=r"saved from \['Skew'\].*\['Softplus'\]"):
            target.load_state_dict(source.state_dict())
        assert torch.equal(target.weight, before)
    else:
        target.load_state_dict(source.state_dict())
        assert not torch.equal(target.weight, source.weight)


@both
def test_one_map_with_a_state_does_not_serve_two_tensors(library):
    shared = Shifted(torch.zeros(3, 3))
    one = linear(library, shared)
    before, two = one.weight.detach().clone(), nn.Linear(3, 3)
    if library is parametrize:
        base = shared.base
        with pytest.raises(ValueError, match="already parametrizes another tensor"):
            library.register_parametrization(two, "weight", shared)
        assert shared.base is base and type(two) is nn.Linear
        assert torch.equal(one.weight, before)
        stateless = Skew()
        linear(library, stateless), linear(library, stateless)
    else:
        library.register_parametrization(two, "weight", shared)
        assert not torch.equal(one.weight, before)


@both
def test_removal_before_training_gives_back_the_tensor(library):
    module = nn.Linear(3, 3)
    before, tensor = module.weight.detach().clone(), module.weight
    library.register_parametrization(module, "weight", Skew())
    library.remove_parametrizations(module, "weight", leave_parametrized=False)
    assert module.weight is tensor
    assert torch.equal(module.weight, before) == (library is parametrize)


@both
def test_a_map_whose_code_fails_says_so(library):
    class Broken(nn.Module):
        def forward(self, x):
            return x.no_such_method()

    module = linear(library, Broken(), unsafe=True)
    with pytest.raises(RuntimeError if library is parametrize else AttributeError) as caught:
        _ = module.weight
    assert "no_such_method" in str(caught.value.__cause__) or library is peer


@both
def test_removal_under_no_grad_keeps_a_parameter(library):
    module = linear(library, Factors())
    with torch.no_grad():
        library.remove_parametrizations(module, "weight")
    assert isinstance(module.weight, nn.Parameter) == (library is parametrize)


@both
def test_a_non_persistent_buffer_stays_one(library):
    module = nn.Module()
    module.register_buffer("table", torch.ones(3, 3), persistent=False)
    library.register_parametrization(module, "table", Skew())
    assert (not module.state_dict()) == (library is parametrize)
    library.remove_parametrizations(module, "table")
    assert (not module.state_dict()) == (library is parametrize)


@both
def test_an_optimizer_does_not_go_on_with_replaced_tensors(library):
    module = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    library.register_parametrization(module, "weight", Factors())

    def train():
        before = module.weight.detach().clone()
        module.weight.square().sum().backward()
        optimizer.step()
        return not torch.equal(module.weight, before)

    if library is peer:
        assert not train()
        return
    with pytest.raises(RuntimeError, match="has replaced.*add_param_group"):
        train()
    optimizer.add_param_group({"params": list(module.parametrizations.weight.parameters())})
    assert train()
    library.remove_parametrizations(module, "weight")
    with pytest.raises(RuntimeError, match="has replaced"):
        train()
    optimizer.add_param_group({"params": [module.weight]})
    assert train()


def test_ties_are_seen_and_nothing_else_is_taken_for_one():
    module = nn.Linear(3, 3)
    mine, optimizer = module.weight, torch.optim.SGD(module.parameters())  # noqa: F841
    parametrize.register_parametrization(module, "weight", Skew())


class Keeping(Shifted):
    """A map that keeps the very tensor that it is given."""

    def right_inverse(self, x):
        self.base = x.detach()
        return torch.zeros_like(x)


@both
def test_a_map_that_keeps_what_it_is_given(library):
    mine = torch.ones(3, 3)
    module = linear(library, Keeping(torch.zeros(3, 3)))
    module.weight = mine
    module.parametrizations.weight[0].base.add_(1)
    assert (mine == 1).all() == (library is parametrize)


@both
def test_assigning_no_tensor(library):
    module = linear(library, Identity())
    with pytest.raises(TypeError if library is parametrize else (ValueError, AttributeError)):
        module.weight = None
