"""constrain, in both ways, from the view of a user."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import torchmanifold as tm

HOWS = ("parametrized", "riemannian")
both_ways = pytest.mark.parametrize("how", HOWS)


def residual(module: nn.Module, name: str) -> float:
    manifold = tm.manifold_of(module, name)
    assert manifold is not None
    return float(manifold.residual(getattr(module, name).detach()).max())


@both_ways
@pytest.mark.parametrize(
    ("manifold", "shape"),
    [
        (tm.Stiefel(), (6, 3)),
        (tm.Stiefel(), (3, 6)),
        (tm.Stiefel(), (4, 4)),
        (tm.SpecialOrthogonal(), (4, 4)),
        (tm.Symmetric(), (4, 4)),
        (tm.SkewSymmetric(), (4, 4)),
        (tm.SymmetricPositiveDefinite(), (4, 4)),
        (tm.FixedRank(2), (5, 4)),
        (tm.Sphere(), (3, 4)),
        (tm.Euclidean(), (3, 4)),
    ],
    ids=repr,
)
def test_the_weight_starts_at_its_nearest_point(how, manifold, shape):
    layer = nn.Linear(shape[1], shape[0])
    before = layer.weight.detach().clone()
    assert tm.constrain(layer, "weight", manifold, how=how) is layer
    placed = tm.manifold_of(layer, "weight")
    torch.testing.assert_close(layer.weight.detach(), placed.project(before), atol=2e-6, rtol=1e-5)
    assert residual(layer, "weight") <= placed.tolerance(shape, torch.float32)
    assert tm.is_constrained(layer) and tm.is_constrained(layer, "weight")
    assert not tm.is_constrained(layer, "bias")


@both_ways
def test_a_wide_weight_gets_orthonormal_rows(how):
    layer = tm.constrain(nn.Linear(8, 3), "weight", tm.Stiefel(), how=how)
    assert tm.manifold_of(layer, "weight") == tm.Transposed(tm.Stiefel())
    torch.testing.assert_close(layer.weight @ layer.weight.mT, torch.eye(3))


@both_ways
def test_a_kernel_is_constrained_as_a_matrix(how):
    conv = tm.constrain(nn.Conv2d(3, 8, 3), "weight", tm.Stiefel(), flatten=True, how=how)
    rows = conv.weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(8))
    assert conv(torch.randn(1, 3, 5, 5)).shape == (1, 8, 3, 3)


@both_ways
def test_each_gate_is_a_rotation(how):
    lstm = nn.LSTM(5, 4, num_layers=2, bidirectional=True)
    tm.constrain(lstm, "weight_hh_l*", tm.SpecialOrthogonal(), blocks=4, how=how)
    assert [row.name for row in tm.report(lstm)] == [
        "weight_hh_l0",
        "weight_hh_l0_reverse",
        "weight_hh_l1",
        "weight_hh_l1_reverse",
    ]
    for gate in lstm.weight_hh_l1_reverse.detach().unflatten(0, (4, 4)):
        torch.testing.assert_close(gate.mT @ gate, torch.eye(4))
        assert torch.linalg.det(gate) > 0
    out, _ = lstm(torch.randn(7, 2, 5))
    out.sum().backward()


@pytest.mark.parametrize("cell", [nn.LSTM(5, 4), nn.GRU(5, 4), nn.LSTMCell(5, 4), nn.GRUCell(5, 4)])
@pytest.mark.parametrize("manifold", [tm.Stiefel(), tm.SpecialOrthogonal()])
def test_stacked_gates_name_the_remedy(cell, manifold):
    name = next(name for name, _ in cell.named_parameters() if name.startswith("weight_hh"))
    with pytest.raises(ValueError, match=r"pass blocks=[34]"):
        tm.constrain(cell, name, manifold)


@both_ways
def test_unconstrain_leaves_a_plain_weight_with_its_value(how):
    layer = nn.Linear(4, 4)
    names, kind = [n for n, _ in layer.named_parameters()], type(layer)
    tm.constrain(layer, "weight", tm.SpecialOrthogonal(), how=how)
    value = layer.weight.detach().clone()
    assert tm.unconstrain(layer, "weight") is layer
    torch.testing.assert_close(layer.weight.detach(), value, rtol=0, atol=0)
    assert sorted(n for n, _ in layer.named_parameters()) == sorted(names)
    assert type(layer) is kind and isinstance(layer.weight, nn.Parameter)
    assert not tm.is_constrained(layer) and tm.manifold_of(layer, "weight") is None
    assert tm.manifold_of(layer.weight) is None
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    with pytest.raises(ValueError, match="no constrained weight"):
        tm.unconstrain(layer, "weight")


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@both_ways
@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        (("weigth", tm.Stiefel()), {}, ValueError, "did you mean 'weight'"),
        ((["weight", "w*z"], tm.Stiefel()), {}, ValueError, "no parameter"),
        (("weight", tm.SpecialOrthogonal()), {}, ValueError, "square"),
        (("weight", tm.SpecialOrthogonal()), {"blocks": 4}, ValueError, "multiple of 4"),
        (("weight", tm.FixedRank(9)), {}, ValueError, "rank of at most 4"),
        (("weight", "Stiefel"), {}, TypeError, "must be a manifold such as"),
        (("bias", tm.Stiefel()), {}, ValueError, "shape"),
    ],
)
def test_a_refused_weight_is_left_as_it_was(how, arguments, options, error, match):
    layer = nn.Linear(4, 6)
    before = state(layer)
    with pytest.raises(error, match=match):
        tm.constrain(layer, *arguments, how=how, **options)
    after = state(layer)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert type(layer) is nn.Linear and not tm.is_constrained(layer)


@both_ways
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(how, value):
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight[0, 0] = value
    with pytest.raises(ValueError, match="1 of 16 entries are NaN or infinite"):
        tm.constrain(layer, "weight", tm.Stiefel(), how=how)
    assert type(layer) is nn.Linear and not tm.is_constrained(layer)


@both_ways
def test_constraining_twice_is_refused(how):
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel(), how=how)
    before = state(layer)
    with pytest.raises(ValueError, match="already constrained; call unconstrain"):
        tm.constrain(layer, "weight", tm.Stiefel(), how=how)
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), state(layer).values(), strict=True)
    )


def test_how_is_checked():
    with pytest.raises(ValueError, match='how must be "parametrized" or "riemannian"'):
        tm.constrain(nn.Linear(2, 2), "weight", tm.Stiefel(), how="both")


def test_assignment_moves_the_base_or_raises_and_changes_nothing():
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
    x = tm.SpecialOrthogonal().random(4, 4)
    layer.weight = x
    torch.testing.assert_close(layer.weight.detach(), x, atol=1e-6, rtol=0)
    before = state(layer)
    reflection = torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    for wrong, match in (
        (torch.randn(4, 4), r"residual is .*project\(value\)"),
        (reflection, "not on SpecialOrthogonal"),
        (torch.full((4, 4), float("nan")), "NaN or infinite"),
        (x.double(), "dtype"),
        (torch.eye(3), "shape"),
    ):
        with pytest.raises(ValueError, match=match):
            layer.weight = wrong
        after = state(layer)
        assert all(torch.equal(before[name], after[name]) for name in before)
    caller = tm.SpecialOrthogonal().random(4, 4)
    layer.weight = caller
    caller.zero_()
    assert residual(layer, "weight") < 1e-5  # nothing is aliased


def test_determinant_minus_one_and_eigenvalue_minus_one_are_reachable():
    """Maps without a base point cannot reach these; the base of a trivialization moves there."""
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel())
    layer.weight = torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    assert torch.linalg.det(layer.weight) < 0
    rotation = tm.constrain(nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
    rotation.weight = -torch.eye(4)
    torch.testing.assert_close(rotation.weight.detach(), -torch.eye(4))


@pytest.mark.filterwarnings("ignore:.* is zero, and all points:UserWarning")
def test_rank_deficient_and_zero_weights_become_points():
    for fill in (0.0, 1.0):
        layer = nn.Linear(4, 4)
        nn.init.constant_(layer.weight, fill)
        tm.constrain(layer, "weight", tm.Stiefel())
        assert residual(layer, "weight") < 1e-5
        layer(torch.randn(3, 4)).pow(2).sum().backward()
        assert layer.parametrizations.weight.original.grad.abs().max() > 0


def test_weight_decay_does_not_pull_the_weight_off():
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel())
    before = layer.weight.detach().clone()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer.weight.sum().mul(0).backward()
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before)


# -- how="riemannian": the record and its stamp ------------------------------------------------


def riemannian_layer() -> nn.Module:
    return tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")


def reloaded(layer: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize(
    "travel",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), reloaded, lambda m: m.double()],
    ids=["deepcopy", "pickle", "torch.save", "double"],
)
def test_the_record_survives(travel):
    layer = travel(riemannian_layer())
    assert tm.manifold_of(layer, "weight") == tm.Stiefel()
    layer(torch.ones(1, 4, dtype=layer.weight.dtype)).sum().backward()
    assert tm.manifold_of(layer.weight) == tm.Stiefel()
    with pytest.raises(RuntimeError, match="would move a weight of shape"):
        torch.optim.SGD(layer.parameters(), lr=0.1).step()


def test_a_copy_is_stamped_at_once():
    """No forward pass is needed, because a copied layer may be read only by another module."""
    encoder = nn.TransformerEncoderLayer(8, 2, 16)
    tm.constrain(encoder.self_attn.out_proj, "weight", tm.SpecialOrthogonal(), how="riemannian")
    model = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
    weights = [layer.self_attn.out_proj.weight for layer in model.layers]
    assert all(tm.manifold_of(weight) == tm.SpecialOrthogonal() for weight in weights)
    optimizer = tm.optim.RiemannianAdam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 2, 8)).square().sum().backward()
        optimizer.step()
    assert all(tm.SpecialOrthogonal().residual(w.detach()) < 1e-5 for w in weights)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(riemannian_layer())))
    assert tm.manifold_of(copied.weight) == tm.Stiefel()
    tied = nn.Sequential(riemannian_layer(), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert tm.manifold_of(copy.deepcopy(tied)[1].weight) == tm.Stiefel()


def test_one_weight_cannot_be_on_two_manifolds():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    tm.constrain(first, "weight", tm.SpecialOrthogonal(), how="riemannian")
    with pytest.raises(ValueError, match="another module shares and keeps on SpecialOrthogonal"):
        tm.constrain(second, "weight", tm.Sphere(), how="riemannian")


def test_what_else_replaces_the_weight_is_named():
    layer = nn.utils.parametrizations.weight_norm(riemannian_layer())
    with pytest.raises(RuntimeError, match="no longer a parameter; call unconstrain"):
        layer(torch.ones(1, 4))


@both_ways
def test_refused_by_name(how):
    with pytest.raises(ValueError, match=r"pass the submodule: .*get_submodule\('0'\)"):
        tm.constrain(nn.Sequential(nn.Linear(4, 4)), "0.weight", tm.Stiefel(), how=how)
    with pytest.raises(ValueError, match="pass blocks=4"):
        tm.constrain(nn.LSTM(4, 6), "weight_hh_l0", tm.Stiefel(), how=how, blocks=3)
    with pytest.raises(TypeError, match="points are real"):
        tm.constrain(
            nn.Linear(3, 3, dtype=torch.complex64), "weight", tm.SpecialOrthogonal(), how=how
        )
    with pytest.raises(TypeError, match="too few digits"):
        tm.constrain(nn.Linear(3, 3).bfloat16(), "weight", tm.SymmetricPositiveDefinite(), how=how)


def test_report_of_models_without_values():
    with torch.device("meta"):
        layer = nn.Linear(4, 4)
    (row,) = tm.report(tm.constrain(layer, "weight", tm.Stiefel()))
    assert row.residual != row.residual


def test_loading_with_assign_keeps_the_stamp():
    layer, other = riemannian_layer(), riemannian_layer()
    layer.load_state_dict(other.state_dict(), assign=True)
    assert tm.manifold_of(layer.weight) == tm.Stiefel()


def test_a_copy_is_independent():
    layer = riemannian_layer()
    twin = copy.deepcopy(layer)
    tm.unconstrain(twin, "weight")
    assert tm.is_constrained(layer) and not tm.is_constrained(twin)


def test_a_foreign_optimizer_is_refused_before_it_moves_anything():
    layer = riemannian_layer()
    before = layer.weight.detach().clone()
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.randn(2, 4)).sum().backward()
    with pytest.raises(RuntimeError, match=r"torchmanifold\.optim"):
        optimizer.step()
    assert torch.equal(layer.weight, before)


def test_riemannian_needs_a_plain_parameter():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="plain parameter"):
        tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian")


def test_report_is_an_aligned_table():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    tm.constrain(model[0], "weight", tm.SpecialOrthogonal())
    tm.constrain(model[2], "weight", tm.Stiefel(), how="riemannian")
    table = tm.report(model)
    assert [(row.name, row.how, row.shape) for row in table] == [
        ("0.weight", "parametrized", (4, 4)),
        ("2.weight", "riemannian", (2, 4)),
    ]
    assert all(row.residual < 1e-5 for row in table)
    lines = str(table).splitlines()
    assert (
        len(lines) == 3
        and len({line.index(w) for line, w in zip(lines[1:], ("4x4", "2x4"), strict=True)}) == 1
    )
    assert str(tm.report(nn.Linear(2, 2))) == "no constrained weights"


def test_manifold_of_checks_its_arguments():
    with pytest.raises(TypeError, match="tensor_name is needed"):
        tm.manifold_of(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="goes with a module"):
        tm.manifold_of(torch.eye(2), "weight")


@both_ways
def test_a_model_without_values_is_constrained_and_loaded(how):
    """Built on the meta device, constrained, and given the values of a checkpoint."""
    trained = tm.constrain(nn.Linear(6, 4), "weight", tm.Stiefel(), how=how)
    with torch.device("meta"):
        empty = nn.Linear(6, 4)
    tm.constrain(empty, "weight", tm.Stiefel(), how=how)
    assert empty.weight.is_meta and tm.manifold_of(empty, "weight") == tm.Transposed(tm.Stiefel())
    empty.to_empty(device="cpu").load_state_dict(trained.state_dict())
    torch.testing.assert_close(empty.weight, trained.weight)


@both_ways
def test_a_lazy_module_says_what_to_do(how):
    module = nn.LazyLinear(4)
    with pytest.raises(ValueError, match="'weight' of LazyLinear is not initialized.*Run the mod"):
        tm.constrain(module, "weight", tm.Stiefel(), how=how)
    module(torch.randn(2, 4))
    tm.constrain(module, "weight", tm.Stiefel(), how=how)
    assert residual(module, "weight") < 1e-5


@pytest.mark.parametrize("how", ["parametrized", "riemannian"])
@pytest.mark.parametrize("manifold", [tm.Stiefel(), tm.SpecialOrthogonal(), tm.Sphere()])
def test_a_zero_weight_says_that_its_point_is_arbitrary(manifold, how):
    layer = torch.nn.Linear(4, 4)
    torch.nn.init.zeros_(layer.weight)
    with pytest.warns(UserWarning, match="is zero, and all points of .* are equally near"):
        tm.constrain(layer, "weight", manifold, how=how)
    unique = torch.nn.Linear(4, 4)
    torch.nn.init.zeros_(unique.weight)
    tm.constrain(unique, "weight", tm.Symmetric(), how=how)
