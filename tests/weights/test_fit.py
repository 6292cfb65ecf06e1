"""The matrices in the weight of a module, and weights that cannot be constrained."""

import copy

import pytest
import torch
from torch import nn

import torchmanifold as tm
import torchmanifold.parametrize as parametrize

both_ways = pytest.mark.parametrize("how", ["parametrized", "riemannian"])

STACKS = {
    "LSTM, hidden": (lambda: nn.LSTM(4, 4), "weight_hh_l0", 4),
    "LSTM, input": (lambda: nn.LSTM(3, 4), "weight_ih_l0", 4),
    "GRU": (lambda: nn.GRU(4, 4, bidirectional=True), "weight_hh_l0_reverse", 3),
    "LSTM cell": (lambda: nn.LSTMCell(4, 4), "weight_ih", 4),
    "GRU cell": (lambda: nn.GRUCell(4, 4), "weight_hh", 3),
    "attention": (lambda: nn.MultiheadAttention(4, 2), "in_proj_weight", 3),
}


@both_ways
@pytest.mark.parametrize(("build", "name", "count"), STACKS.values(), ids=STACKS)
def test_a_stack_of_matrices_is_asked_about(build, name, count, how):
    module = build()
    before = copy.deepcopy(module.state_dict())
    for blocks in (None, 2):
        with pytest.raises(ValueError, match=rf"pass blocks={count} .* or blocks=1"):
            tm.constrain(module, name, tm.Stiefel(), how=how, blocks=blocks)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    tm.constrain(module, name, tm.Stiefel(), how=how, blocks=count)
    for part in getattr(module, name).detach().chunk(count):
        torch.testing.assert_close(part.mT @ part, torch.eye(part.shape[1]))
    whole = tm.constrain(build(), name, tm.Stiefel(), how=how, blocks=1)
    stack = getattr(whole, name).detach()
    torch.testing.assert_close(stack.mT @ stack, torch.eye(stack.shape[1]))


def test_heads_are_blocks_of_the_three_projections():
    attention = nn.MultiheadAttention(4, 2)
    tm.constrain(attention, "in_proj_weight", tm.Stiefel(), blocks=6)
    x = torch.randn(5, 1, 4)
    attention(x, x, x)[0].sum().backward()
    head = attention.in_proj_weight.detach()[:2]
    torch.testing.assert_close(head @ head.mT, torch.eye(2))


def test_a_manifold_of_vectors_asks_for_no_blocks():
    attention = tm.constrain(nn.MultiheadAttention(4, 2), "in_proj_weight", tm.Sphere())
    torch.testing.assert_close(attention.in_proj_weight.detach().norm(dim=-1), torch.ones(12))


def kernels(conv, transposed):
    """The kernel of each group as the matrix (out, in kh kw), from what the layer computes."""
    groups = []
    for kernel in conv.weight.detach().chunk(conv.groups):
        groups.append((kernel.transpose(0, 1) if transposed else kernel).flatten(1))
    return torch.stack(groups)


@both_ways
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("sizes", [(8, 4), (4, 8)])
@pytest.mark.parametrize(
    "kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d]
)
def test_the_rows_of_a_kernel_are_its_output_channels(kind, sizes, groups, how):
    conv = kind(*sizes, 2, groups=groups)
    if groups > 1:
        with pytest.raises(ValueError, match="2 groups of channels are stacked.*pass blocks=2"):
            tm.constrain(conv, "weight", tm.Stiefel(), flatten=True, how=how)
    blocks = groups if groups > 1 else None
    tm.constrain(conv, "weight", tm.Stiefel(), flatten=True, blocks=blocks, how=how)
    found = kernels(conv, transposed=kind in (nn.ConvTranspose1d, nn.ConvTranspose2d))
    short = found if found.shape[-2] <= found.shape[-1] else found.mT
    torch.testing.assert_close(short @ short.mT, torch.eye(short.shape[-2]).expand(groups, -1, -1))
    conv(torch.randn(1, sizes[0], *[3] * (conv.weight.ndim - 2))).sum().backward()


def test_rows_of_a_flattened_tensor():
    M = tm.Flattened(tm.Transposed(tm.Stiefel()), ndim=3, rows=1)
    x = M.random(5, 4, 3, 2)  # a batch of 5
    matrix = x.transpose(1, 2).flatten(2)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3).expand(5, -1, -1))
    for rows in (3, -1, 1.5):
        with pytest.raises(ValueError, match="rows must be a dimension, 0 to 2"):
            tm.Flattened(tm.Stiefel(), ndim=3, rows=rows)


# Weights that cannot be constrained


@both_ways
def test_weights_that_cannot_be_written_are_refused_by_name(how):
    module = nn.Module()
    module.w = nn.Parameter(torch.randn(1, 3).expand(4, 3))
    with pytest.raises(ValueError, match="constrain: The tensor 'w' of Module is an expanded view"):
        tm.constrain(module, "w", tm.Stiefel(), how=how)
    with pytest.raises(ValueError, match="'weight' of Embedding is rescaled in place"):
        tm.constrain(nn.Embedding(5, 3, max_norm=1.0), "weight", tm.Sphere(), how=how)


@both_ways
def test_a_tied_weight_stays_tied_or_is_refused(how):
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    before = first.weight.detach().clone()
    if how == "riemannian":
        tm.constrain(first, "weight", tm.SpecialOrthogonal(), how=how)
        assert first.weight is second.weight
        return
    with pytest.raises(ValueError, match="constrain: The tensor 'weight' of Linear is tied"):
        tm.constrain(first, "weight", tm.SpecialOrthogonal())
    assert first.weight is second.weight and torch.equal(first.weight, before)
    second.weight = nn.Parameter(second.weight.detach().clone())
    tm.constrain(first, "weight", tm.SpecialOrthogonal())
    parametrize.register_parametrization(second, "weight", first.parametrizations.weight)
    assert torch.equal(first.weight, second.weight) and len(list(model.parameters())) == 3


@both_ways
def test_a_refused_weight_leaves_the_others_alone(how):
    module = nn.Module()
    module.w1 = nn.Parameter(torch.randn(4, 3))
    module.w2 = nn.Parameter(torch.randn(1, 3).expand(4, 3))
    before = module.w1.detach().clone()
    with pytest.raises(ValueError, match="'w2' of Module"):
        tm.constrain(module, "w*", tm.Stiefel(), how=how)
    assert torch.equal(module.w1, before) and not tm.is_constrained(module)


def test_a_glob_that_matches_nothing_says_so():
    lstm = nn.LSTM(3, 4)
    with pytest.raises(ValueError, match=r"no parameter of LSTM matches 'weight_h\?\?_l\*'"):
        tm.constrain(lstm, "weight_h??_l*", tm.Stiefel(), blocks=4)
    with pytest.raises(ValueError, match=r"LSTM has no parameter 'weight_hh_l1'; did you mean"):
        tm.constrain(lstm, "weight_hh_l1", tm.Stiefel(), blocks=4)


@both_ways
@pytest.mark.parametrize(
    ("build", "options"),
    [
        (lambda: nn.Linear(5, 3), {}),
        (lambda: nn.Conv2d(2, 4, 3), {"flatten": True}),
        (lambda: nn.ConvTranspose2d(4, 2, 3), {"flatten": True}),
        (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), {"flatten": True, "blocks": 2}),
    ],
)
def test_what_is_saved_lies_in_one_piece(build, options, how):
    module = tm.constrain(build(), "weight", tm.Stiefel(), how=how, **options)
    tm.rebase_(module)
    for state in (module.state_dict(), parametrize.plain_state_dict(module)):
        assert all(tensor.is_contiguous() for tensor in state.values())
    assert tm.unconstrain(module, "weight").weight.is_contiguous()


def test_a_matrix_can_be_one_vector():
    layer = tm.constrain(nn.Linear(5, 3), "weight", tm.Sphere(), flatten=True)
    assert torch.allclose(layer.weight.norm(), torch.ones(()))
    tm.unconstrain(layer, "weight")
    radius = tm.Scaled(tm.Flattened(tm.Sphere(), 2), 4.0)
    tm.constrain(layer, "weight", radius, how="riemannian")
    layer(torch.ones(2, 5)).sum().backward()
    tm.optim.RiemannianSGD(layer, lr=0.1).step()
    assert torch.allclose(layer.weight.norm(), torch.full((), 4.0))


@both_ways
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d])
@pytest.mark.parametrize("manifold", [tm.Stiefel(), tm.Sphere()], ids=repr)
def test_the_slices_of_a_kernel_are_points_only_if_one_says_so(kind, manifold, how):
    conv = kind(4, 6, 3)
    before = conv.weight.detach().clone()
    with pytest.raises(ValueError, match="pass flatten=True .* or flatten=False to"):
        tm.constrain(conv, "weight", manifold, how=how)
    assert torch.equal(conv.weight, before) and not tm.is_constrained(conv, "weight")
    tm.constrain(conv, "weight", manifold, how=how, flatten=False)
    assert manifold.residual(conv.weight).max() < 1e-5
    assert tm.manifold_of(conv, "weight").event_ndim == manifold.event_ndim
