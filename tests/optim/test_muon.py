"""Riemannian Muon: its direction on manifolds, and Muon and AdamW on ordinary weights."""

import copy

import pytest
import torch
from mixed import Mixed, run
from torch import nn

import torchmanifold as tm
from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import skew

Muon = tm.optim.RiemannianMuon
F64 = torch.float64
ordinary = pytest.mark.filterwarnings("ignore:.*weights is on a manifold")


@pytest.mark.parametrize("nesterov", [False, True])
def test_rotations_move_along_the_exact_solution(nesterov):
    """`x exp(-lr a)`, with `a` the polar factor of the skew part of the averaged gradient."""
    torch.manual_seed(0)
    M = tm.SpecialOrthogonal(retraction=tm.Exp())
    x = M.random(6, 6, dtype=F64)
    p = tm.place_(nn.Parameter(x.clone()), M)
    optimizer = Muon([p], lr=0.1, momentum=0.5, nesterov=nesterov)
    average = torch.zeros_like(x)
    for _ in range(3):
        p.grad = torch.randn_like(p)
        optimizer.step()
        average = 0.5 * average + 0.5 * p.grad
        m = 0.5 * average + 0.5 * p.grad if nesterov else average
        a = maps.polar_direction(skew(x.mT @ m))
        x = x @ torch.linalg.matrix_exp(-0.1 * a)
        assert torch.allclose(p, x, rtol=0, atol=1e-12)
    # The angle of the last step: its spectral norm is the learning rate, about.
    angle = torch.linalg.matrix_norm(a, 2)
    assert 0.88 <= angle <= 1.12


def test_the_loss_of_a_rotation_falls_at_the_largest_rate():
    """A comparison with gradient steps of the same spectral norm."""
    torch.manual_seed(0)
    M = tm.SpecialOrthogonal()
    x, g = M.random(30, 30, dtype=F64), torch.randn(30, 30, dtype=F64)
    p = tm.place_(nn.Parameter(x.clone()), M)
    p.grad = g
    Muon([p], lr=1e-3).step()
    gradient = M.gradient(x, g)
    plain = M.retract(x, -1e-3 * gradient / torch.linalg.matrix_norm(gradient, 2))
    fall, other = ((g * (x - y)).sum().detach() for y in (p, plain))
    assert fall > 1.2 * other


@ordinary
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("shape", [(8, 8), (12, 3), (3, 12)], ids=str)
def test_ordinary_matrices_move_as_under_torch(shape, scale):
    """Up to the polynomials: equal singular values stay equal under both."""
    torch.manual_seed(0)
    q = maps.polar_direction(torch.randn(shape), steps=9)
    start = torch.randn(shape)
    options = {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3}
    moved = []
    for optimizer in (
        lambda p: torch.optim.Muon([p], **options, adjust_lr_fn=scale),
        lambda p: Muon([p], **options, scale=scale, products="full"),
    ):
        p = nn.Parameter(start.clone())
        stepper = optimizer(p)
        for size in (1.0, 0.3, 2.0):
            p.grad = size * q
            stepper.step()
        moved.append((p - (1 - 0.1 * 0.3) ** 3 * start).detach())
    theirs, ours = moved
    ratio = ours.norm() / theirs.norm()
    assert torch.allclose(ours, ratio * theirs, atol=0.02 * float(ours.abs().max()))
    # Ours are within [0.88, 1.12], theirs within [0.68, 1.21].
    assert 0.88 / 1.21 < ratio < 1.12 / 0.68


@ordinary
def test_scales_by_shape():
    torch.manual_seed(0)
    norms = {}
    for scale in ("none", "original", "match_rms_adamw", "spectral"):
        p = nn.Parameter(torch.zeros(8, 2, dtype=F64))
        p.grad = torch.ones_like(p) + torch.eye(8, 2)
        Muon([p], lr=0.1, scale=scale).step()
        norms[scale] = float(torch.linalg.matrix_norm(p.detach(), 2)) / 0.1
    assert 0.88 <= norms["none"] <= 1.12
    assert norms["original"] == pytest.approx(2 * norms["none"])
    assert norms["match_rms_adamw"] == pytest.approx(0.2 * 8**0.5 * norms["none"])
    assert norms["spectral"] == pytest.approx(2 * norms["none"])


@ordinary
def test_vectors_and_what_is_said_to_move_as_under_adamw():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3))
    other = copy.deepcopy(net)
    options = {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-6}
    ours = Muon([{"params": net.parameters(), "matrices": "adamw"}], **options)
    theirs = torch.optim.AdamW(other.parameters(), **options)
    for model, optimizer in ((net, ours), (other, theirs)):
        for i in range(4):
            optimizer.zero_grad()
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(i))
            model(x).pow(2).sum().backward()
            optimizer.step()
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


@ordinary
def test_a_group_may_change_how_its_matrices_move():
    p = nn.Parameter(torch.eye(3))
    optimizer = Muon([p], lr=0.1)
    for matrices, state in (("muon", {"momentum_buffer"}), ("adamw", {"exp_avg", "exp_avg_sq"})):
        optimizer.param_groups[0]["matrices"] = matrices
        p.grad = torch.ones(3, 3)
        optimizer.step()
        assert optimizer.state[p].keys() - {"step"} == state


@ordinary
def test_kernels_of_convolutions_are_matrices():
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(4, 3, 2, 2, dtype=F64))
    matrix = nn.Parameter(kernel.detach().flatten(1))
    kernel.grad = torch.randn_like(kernel)
    matrix.grad = kernel.grad.flatten(1)
    for p in (kernel, matrix):
        Muon([p], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_like_matrices_make_their_direction_in_one_call(monkeypatch):
    shapes = []
    direction = maps.polar_direction

    def counted(z, *args, **kwargs):
        shapes.append(tuple(z.shape))
        return direction(z, *args, **kwargs)

    monkeypatch.setattr("torchmanifold.manifolds.geometry.steepest.polar_direction", counted)
    monkeypatch.setattr(maps, "polar_direction", counted)
    model = Mixed()
    run(model, Muon(model, lr=0.01), 1)
    # The head, the rotation, the unit vector, the kernel as (out, rest) turned, and three alike.
    assert sorted(shapes) == [(1, 2, 6), (1, 6, 1), (1, 6, 6), (1, 18, 6), (3, 6, 6)]


def test_loads_the_state_of_torch_muon():
    torch.manual_seed(0)
    layer = tm.constrain(nn.Linear(6, 6, bias=False), "weight", tm.Stiefel(), how="riemannian")
    q = nn.Parameter(layer.weight.detach().clone())
    q.grad = torch.randn(6, 6)
    theirs = torch.optim.Muon([q], lr=0.1)
    theirs.step()
    ours = Muon(layer, lr=0.1)
    ours.load_state_dict(theirs.state_dict())
    buffer = ours.state[layer.weight]["momentum_buffer"]
    assert torch.equal(buffer, theirs.state[q]["momentum_buffer"])


def test_bfloat16_products_leave_no_residual():
    """The direction has an error of a percent, but the retraction is computed in float32."""
    torch.manual_seed(0)
    for M, shape in ((tm.Stiefel(), (64, 32)), (tm.SpecialOrthogonal(), (64, 64))):
        points = [tm.place_(nn.Parameter(M.random(*shape)), M) for _ in range(2)]
        same = points[0].detach().clone()
        points[1].data.copy_(same)
        for p, products in zip(points, ("bfloat16", "full"), strict=True):
            optimizer = Muon([p], lr=0.05, products=products)
            for i in range(50):
                p.grad = torch.randn(shape, generator=torch.Generator().manual_seed(i))
                optimizer.step()
            assert M.residual(p.detach()) <= M.tolerance(shape, p.dtype)
        assert not torch.equal(*points)
        assert (points[0] - points[1]).norm() < 0.2 * (points[0] - same).norm()


def test_points_of_more_than_two_dimensions_are_refused():
    p = tm.place_(nn.Parameter(torch.ones(2, 2, 2)), tm.Euclidean(ndim=3))
    with pytest.raises(ValueError, match="RiemannianMuon: .*points are not matrices"):
        Muon([p])
