"""Trivializations, and moves of their base."""

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, entries, every, label
from torch import nn

import torchmanifold as tm

over_all = pytest.mark.parametrize(("M", "shape"), every((*CASES, *ALWAYS_COMPLEX)), ids=label)


def constrained(M: tm.Manifold, shape: tuple[int, ...]) -> nn.Module:
    module = nn.Module()
    generator = torch.Generator().manual_seed(3)
    dtype = entries(M, torch.float64)
    module.weight = nn.Parameter(M.random(*shape, generator=generator, dtype=dtype))
    return tm.constrain(module, "weight", M)


@over_all
def test_right_inverse_is_exact_for_every_point(M, shape):
    x, y = (M.random(*shape, dtype=entries(M, torch.float64)) for _ in range(2))
    T = tm.Trivialization(M, x)
    torch.testing.assert_close(T(T.right_inverse(y)), y, atol=1e-12, rtol=1e-12)
    assert (T.right_inverse(y) == 0).all()


@over_all
def test_registering_and_removing_is_projecting(M, shape):
    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(*shape, dtype=entries(M, torch.float64)))
    point = M.project(module.weight.detach())
    tm.constrain(module, "weight", M)
    tm.unconstrain(module, "weight")
    torch.testing.assert_close(module.weight.detach(), point, atol=1e-12, rtol=1e-12)
    assert type(module) is nn.Module


@over_all
def test_rebasing_keeps_the_value_and_zeroes_the_coordinates(M, shape):
    module = constrained(M, shape)
    v = module.parametrizations.weight.original
    with torch.no_grad():
        v.add_(0.01 * torch.randn_like(v))
    before = module.weight.detach().clone()
    assert tm.rebase_(module) is module
    assert (v == 0).all() and module.parametrizations.weight.original is v
    torch.testing.assert_close(module.weight.detach(), before, atol=1e-12, rtol=1e-10)


@over_all
def test_rebasing_carries_first_moments_as_tangent_vectors(M, shape):
    module = constrained(M, shape)
    v = module.parametrizations.weight.original
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    module.weight.square().mul(torch.arange(v.numel()).reshape(shape)).mean().real.backward()
    optimizer.step()
    state, trivialization = optimizer.state[v], module.parametrizations.weight[0]
    old, moment = trivialization.base.clone(), state["exp_avg"].clone()
    second = state["exp_avg_sq"].clone()
    tm.rebase_(module, optimizer)
    new = trivialization.base
    expected = M.carry(old, new, M.coordinates(old, moment))
    torch.testing.assert_close(
        M.coordinates(new, state["exp_avg"]), expected, atol=1e-10, rtol=1e-10
    )
    assert torch.equal(state["exp_avg_sq"], second) and float(state["step"]) == 1


def test_many_rebases_do_not_drift():
    module = nn.Linear(16, 16)
    tm.constrain(module, "weight", tm.SpecialOrthogonal(retraction=tm.Exp()))
    v = module.parametrizations.weight.original
    for _ in range(3000):
        with torch.no_grad():
            v.normal_(std=0.05)
        tm.rebase_(module)
    M = tm.SpecialOrthogonal()
    assert M.residual(module.weight.detach()) <= M.tolerance((16, 16), torch.float32)


@pytest.mark.parametrize(
    "M", [tm.Stiefel(), tm.SpecialOrthogonal(), tm.Stiefel(retraction=tm.Polar())]
)
def test_autocast_does_not_leave_the_manifold(M):
    layer = tm.constrain(nn.Linear(32, 32), "weight", M)
    with torch.no_grad():
        layer.parametrizations.weight.original.normal_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(2, 32)).dtype == torch.bfloat16
        weight = layer.weight
    assert weight.dtype == torch.float32 and M.residual(weight) < 1e-5


def test_a_base_off_the_manifold_is_refused():
    with pytest.raises(ValueError, match="not on Stiefel"):
        tm.Trivialization(tm.Stiefel(), torch.ones(3, 2))
    with pytest.raises(TypeError, match="floating point"):
        tm.Trivialization(tm.Stiefel(), torch.eye(3).long())
    assert "Stiefel" in repr(tm.Trivialization(tm.Stiefel(), torch.eye(3, 2)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    layer = tm.constrain(nn.Linear(8, 8).to(dtype), "weight", tm.Stiefel())
    layer(torch.ones(1, 8, dtype=dtype)).sum().backward()
    assert layer.weight.dtype == dtype
    assert layer.parametrizations.weight.original.grad.dtype == dtype
    assert tm.Stiefel().residual(layer.weight.detach()) < 20 * torch.finfo(dtype).eps


def test_moving_the_module_moves_the_base():
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel()).double()
    assert layer.parametrizations.weight[0].base.dtype == torch.float64
    assert "parametrizations.weight.0.base" in layer.state_dict()
    other = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel()).double()
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other.weight, layer.weight)


@pytest.mark.parametrize("retraction", [tm.QR(), tm.Exp(), tm.Cayley(), tm.Polar()], ids=str)
@pytest.mark.parametrize("shape", [(64, 64), (260, 257)], ids=str)
def test_backward_within_autocast(retraction: tm.Retraction, shape: tuple[int, int]) -> None:
    M = tm.Stiefel(retraction=retraction)
    x = M.random(*shape)
    v = (torch.randn(*shape) * 0.1 / shape[0] ** 0.5).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = M.trivialize(x, v)
        (gradient,) = torch.autograd.grad(y.square().sum(), v)
    assert y.dtype == torch.float32 and bool((M.residual(y.detach()) < 1e-4).all())
    assert bool(torch.isfinite(gradient).all())
