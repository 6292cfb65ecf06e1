"""Silent failures of torch's layer, which this layer gets right or refuses.

The failures of the cache are in test_cache.py, those of recurrent modules in test_recurrent.py.
Each test runs the same code on both libraries, so it also shows when torch has corrected one.
"""

import copy
import pickle

import pytest
import torch
import torch.nn.utils.parametrize as peer
from torch import nn
from torch.nn.utils.parametrizations import orthogonal
from torch.testing._internal.two_tensor import TwoTensor

import torchmanifold as tm
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
    """A map with a base: the right inverse moves the base and returns zero."""

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
        with pytest.raises(ValueError, match="is tied: another module"):
            library.register_parametrization(encoder, "weight", Skew())
        assert not library.is_parametrized(encoder) and decoder.weight is encoder.weight
        decoder.weight = nn.Parameter(decoder.weight.detach().clone())
        library.register_parametrization(encoder, "weight", Skew())
        other = nn.Linear(3, 3)
        other.weight = encoder.parametrizations.weight.original
        with pytest.raises(ValueError, match="tied tensors must share one value"):
            library.register_parametrization(other, "weight", Shifted(torch.ones(3, 3)))
        library.register_parametrization(decoder, "weight", encoder.parametrizations.weight)
        assert torch.equal(encoder.weight, decoder.weight)
        with library.cached():
            assert encoder.weight is decoder.weight
    else:
        library.register_parametrization(encoder, "weight", Skew())
        library.register_parametrization(decoder, "weight", nn.Softplus())
        assert not torch.equal(encoder.weight, decoder.weight)


def test_two_names_of_one_tensor_cannot_get_two_values():
    layer = nn.Linear(3, 3)
    layer.again = layer.weight
    with pytest.raises(ValueError, match="another name holds it too"):
        parametrize.register_parametrization(layer, "weight", Skew())
    assert layer.again is layer.weight


def test_a_module_that_is_garbage_holds_no_tensor():
    layer, gone = nn.Linear(3, 3), nn.Linear(3, 3)
    gone.weight, gone.me = layer.weight, [gone]
    del gone
    parametrize.register_parametrization(layer, "weight", Skew())


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


def test_a_refused_checkpoint_gives_the_reason_alone():
    def rotation(retraction):
        manifold = tm.SpecialOrthogonal(retraction=retraction)
        return tm.constrain(nn.Linear(3, 3), "weight", manifold)

    source, target = rotation(tm.Exp()), rotation(tm.Cayley())
    before = copy.deepcopy(target.state_dict())
    with pytest.raises(
        RuntimeError, match=r"saved from.*retraction=Exp\(\).*loaded into.*SpecialOrthogonal\(\)"
    ) as caught:
        target.load_state_dict(source.state_dict())
    assert "Missing" not in str(caught.value) and "Unexpected" not in str(caught.value)
    for key in before:
        if key.startswith("parametrizations"):
            assert torch.equal(target.state_dict()[key], before[key])


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
    """A map that keeps the tensor itself, and not a copy."""

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


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "cached"])
def test_a_refused_initialization_is_reported_once(inside):
    module = linear(parametrize, tm.maps.Skew(), tm.maps.CayleyMap())
    before = module.weight.detach().clone()

    def refused():
        with pytest.raises(ValueError, match="not orthogonal"):
            module.weight = nn.init.ones_(module.weight)
        assert torch.equal(module.weight, before)

    if inside:
        with parametrize.cached():
            refused()
    else:
        refused()


class Doubled(nn.Module):
    def forward(self, x):
        return TwoTensor(x, x)


class Halved(nn.Module):
    def forward(self, x):
        return x.a

    def right_inverse(self, x):
        return TwoTensor(x, x)


def test_maps_between_classes_of_tensors():
    module = nn.Linear(3, 3)
    value, tensor = module.weight.detach().clone(), module.weight
    parametrize.register_parametrization(module, "weight", Halved())
    original = module.parametrizations.weight.original
    assert original is tensor and type(original) is TwoTensor and original.requires_grad
    assert type(module.weight) is torch.Tensor and torch.equal(module.weight, value)
    module.weight = torch.ones(3, 3)
    assert torch.equal(module.weight, torch.ones(3, 3)) and type(original) is TwoTensor
    parametrize.remove_parametrizations(module, "weight")
    assert module.weight is tensor and type(tensor) is nn.Parameter
    parametrize.register_parametrization(module, "weight", Doubled())
    assert type(module.weight) is TwoTensor
    parametrize.remove_parametrizations(module, "weight")
    assert module.weight is tensor and type(tensor) is TwoTensor
    assert torch.equal(tensor.a, torch.ones(3, 3))


# A map accepts any initial weight, but refuses an assigned value that it does not reach.


@pytest.mark.parametrize("map", [tm.maps.Skew, tm.maps.Symmetric], ids=lambda map: map.__name__)
def test_a_weight_that_is_no_value_of_the_map_becomes_one(map):
    module = nn.Linear(3, 3)
    before, tensor = module.weight.detach().clone(), module.weight
    nearest = map()(before)
    parametrize.register_parametrization(module, "weight", map())
    assert torch.equal(module.weight, nearest)
    with pytest.raises(ValueError, match="is not s"):
        module.weight = before
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    assert module.weight is tensor and torch.equal(tensor, before)


class PickyFactors(Factors):
    def right_inverse(self, z):
        if not z.isfinite().all():
            raise ValueError("not finite")
        return super().right_inverse(z)


@pytest.mark.parametrize(
    ("map", "fill"),
    [
        (tm.maps.CayleyMap, None),
        (tm.maps.Skew, torch.nan),
        (tm.maps.Positive, -1.0),
        (PickyFactors, torch.nan),
    ],
    ids=["off its range", "nan", "no projection", "several originals"],
)
def test_a_weight_that_the_map_cannot_start_from_is_refused(map, fill):
    module = nn.Linear(3, 3)
    if fill is not None:
        nn.init.constant_(module.weight, fill)
    before = module.weight.detach().clone()
    with pytest.raises(ValueError, match="not orthogonal|not skew|positive|not finite"):
        parametrize.register_parametrization(module, "weight", map())
    assert type(module) is nn.Linear
    torch.testing.assert_close(module.weight.detach(), before, rtol=0, atol=0, equal_nan=True)


def test_tensors_of_integers():
    class Negative(nn.Module):
        def forward(self, x):
            return -x

        def right_inverse(self, x):
            return -x

    module = nn.Module()
    module.register_buffer("table", torch.arange(3))
    for _ in range(2):
        parametrize.register_parametrization(module, "table", Negative())
        assert torch.equal(module.table, torch.arange(3))


def test_a_bug_in_a_right_inverse_is_not_taken_for_a_refusal():
    class Buggy(Identity):
        def right_inverse(self, x):
            return x.no_such_method()

    for module in (nn.Linear(3, 3), linear(parametrize, Skew())):
        with pytest.raises(AttributeError, match="no_such_method"):
            parametrize.register_parametrization(module, "weight", Buggy())
    assert len(module.parametrizations.weight) == 1


# The code of PyTorch's tutorial; only lines that no longer run are replaced.


class TutorialCayley(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.register_buffer("Id", torch.eye(n))

    def forward(self, x):
        return torch.linalg.solve(self.Id - x, self.Id + x)

    def right_inverse(self, x):
        return torch.linalg.solve(self.Id + x, x - self.Id)


@both
@pytest.mark.parametrize("last", ["CayleyMap", "MatrixExponential"])
def test_any_orthogonal_matrix_is_assigned_exactly_or_refused(library, last):
    torch.manual_seed(0)
    if library is parametrize:
        module = linear(library, tm.maps.Skew(), getattr(tm.maps, last)())
    else:
        module = linear(library, Skew(), TutorialCayley(3))
    outcomes = {"right": 0, "wrong": 0, "refused": 0}
    for _ in range(200):
        value = nn.init.orthogonal_(torch.empty(3, 3))
        before = module.weight.detach().clone()
        try:
            module.weight = value
        except (ValueError, RuntimeError) as error:
            outcomes["refused"] += 1
            if library is parametrize:
                assert "tm.constrain" in str(error)
                assert torch.equal(module.weight, before)
            continue
        right = torch.allclose(module.weight, value, atol=1e-3)
        outcomes["right" if right else "wrong"] += 1
    assert outcomes["right"] > 50
    assert (outcomes["wrong"] == 0) == (library is parametrize)


def test_what_the_maps_refuse_constrain_represents():
    torch.manual_seed(0)
    module = tm.constrain(nn.Linear(3, 3), "weight", tm.Stiefel())
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    for value in (
        half_turn,
        -half_turn,
        *(nn.init.orthogonal_(torch.empty(3, 3)) for _ in "12345"),
    ):
        module.weight = value
        torch.testing.assert_close(module.weight.detach(), value, atol=1e-5, rtol=0)


@both
@pytest.mark.parametrize("kind", ["attribute", "buffer"])
def test_a_mask_is_saved_and_moved_if_it_is_a_buffer(library, kind):
    class Pruned(nn.Module):
        def __init__(self, mask):
            super().__init__()
            if kind == "buffer":
                self.register_buffer("mask", mask)
            else:
                self.mask = mask

        def forward(self, x):
            return self.mask * x

        def right_inverse(self, x):
            return x

    module = linear(library, Pruned(torch.eye(3)))
    travels = kind == "buffer"
    assert ("parametrizations.weight.0.mask" in module.state_dict()) == travels
    assert (module.double().parametrizations.weight[0].mask.dtype == torch.float64) == travels
    module.weight = torch.ones(3, 3, dtype=torch.float64)
    assert torch.equal(module.weight, torch.eye(3, dtype=torch.float64))


@both
def test_a_chain_removed_before_training_leaves_the_tensor(library):
    module = nn.Linear(3, 3)
    before, tensor = module.weight.detach().clone(), module.weight
    for map in (
        (Skew(), TutorialCayley(3))
        if library is peer
        else (
            tm.maps.Skew(),
            tm.maps.CayleyMap(),
        )
    ):
        library.register_parametrization(module, "weight", map)
    library.remove_parametrizations(module, "weight", leave_parametrized=False)
    assert module.weight is tensor
    assert torch.equal(tensor, before) == (library is parametrize)


# The orthogonal maps of torch against a constrained weight.

orthonormal = pytest.mark.parametrize(
    "constrain",
    [lambda m, **_: tm.constrain(m, "weight", tm.Stiefel()), orthogonal],
    ids=["ours", "torch"],
)


def residual(weight):
    """Distance from orthonormality, of rows or columns, whichever are fewer."""
    w = weight.detach().double()
    w = w if w.shape[0] >= w.shape[1] else w.mT
    return (w.mT @ w - torch.eye(w.shape[1], dtype=w.dtype)).norm().item()


@orthonormal
def test_weight_decay_does_not_destroy_the_weight(constrain):
    torch.manual_seed(0)
    module = constrain(nn.Linear(4, 3), orthogonal_map="householder")
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    if constrain is orthogonal:
        assert not module.weight.any()
    else:
        assert residual(module.weight) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    torch.manual_seed(0)
    ours, theirs = nn.Linear(64, 64, dtype=dtype), nn.Linear(64, 64, dtype=dtype)
    tm.constrain(ours, "weight", tm.SpecialOrthogonal(retraction=tm.Exp()))
    orthogonal(theirs, orthogonal_map="matrix_exp", use_trivialization=False)
    for module in (ours, theirs):
        with torch.no_grad():
            module.parametrizations.weight.original.normal_()
    assert residual(ours.weight) < 10 * torch.finfo(dtype).eps * 64**0.5
    assert not residual(theirs.weight) < 1


@pytest.mark.filterwarnings("ignore:.* is zero, and all points:UserWarning")
@orthonormal
@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_a_weight_without_full_rank_becomes_a_point_that_learns(constrain, fill):
    module = nn.Linear(4, 4)
    nn.init.constant_(module.weight, fill)
    constrain(module, orthogonal_map="matrix_exp")
    if constrain is orthogonal:
        assert residual(module.weight) > 0.9
        return
    assert residual(module.weight) < 1e-5
    module(torch.randn(3, 4)).square().sum().backward()
    assert module.parametrizations.weight.original.grad.abs().max() > 0
    before = module.weight.detach().clone()
    with pytest.raises(ValueError, match=r"residual is .*project\(value\)"):
        module.weight = torch.ones(4, 4)
    assert torch.equal(module.weight, before)


@orthonormal
def test_assigning_a_matrix_that_is_not_orthogonal(constrain):
    module = constrain(nn.Linear(4, 4), orthogonal_map="householder")
    for value in (torch.ones(4, 4), torch.full((4, 4), torch.nan)):
        if constrain is orthogonal:
            module.weight = value
            assert not torch.allclose(module.weight, value)
            assert not residual(module.weight) < 1  # nor is it orthogonal
        else:
            with pytest.raises(ValueError, match="not on Stiefel|NaN or infinite"):
                module.weight = value
            assert residual(module.weight) < 1e-5


@orthonormal
@pytest.mark.parametrize("map", ["cayley", "matrix_exp"])
def test_a_weight_that_is_orthogonal_already_is_kept(constrain, map):
    module = nn.Linear(4, 4)
    nn.init.orthogonal_(module.weight)
    before = module.weight.detach().clone()
    constrain(module, orthogonal_map=map, use_trivialization=False)
    kept = torch.allclose(module.weight, before, atol=1e-5)
    assert kept == (constrain is not orthogonal)


@orthonormal
@pytest.mark.parametrize("drop", [False, True], ids=["kept", "dropped"])
def test_momentum_outlives_an_assignment_unless_it_is_dropped(constrain, drop, recwarn):
    # A layer does not know its optimizer, so this is the documented way; a rebase carries momentum.
    torch.manual_seed(0)
    module = constrain(nn.Linear(4, 4), orthogonal_map="matrix_exp")
    module.weight = nn.init.eye_(torch.empty(4, 4))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(2):  # the earlier assignment does not matter to them
        optimizer.zero_grad()
        module(torch.randn(2, 4)).norm(p=3).backward()
        optimizer.step()
    target = tm.SpecialOrthogonal().random(4, 4)
    module.weight = target
    if drop:
        optimizer.state.pop(module.parametrizations.weight.original)
    optimizer.zero_grad(set_to_none=False)
    for _ in range(2):
        optimizer.step()
    assert torch.allclose(module.weight, target, atol=1e-5) == drop
    told = [str(w.message) for w in recwarn if "moments from before" in str(w.message)]
    assert len(told) == (constrain is not orthogonal and not drop)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_is_warned_of_momentum_from_before_an_assignment(copier):
    module = tm.constrain(nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(2, 4)).norm(p=3).backward()
    optimizer.step()
    module.weight = tm.SpecialOrthogonal().random(4, 4)
    _, again = copier((module, optimizer))
    with pytest.warns(UserWarning, match="moments from before the assignment"):
        again.step()
    again.step()
