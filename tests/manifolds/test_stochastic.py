"""Probabilities, doubly stochastic matrices and poses against other computations."""

import math

import pytest
import scipy.linalg
import torch

import torchmanifold as tm
from torchmanifold.manifolds import maps


def sinkhorn(logits, sweeps):
    f = logits
    for _ in range(sweeps):
        f = f - f.logsumexp(-1, keepdim=True)
        f = f - f.logsumexp(-2, keepdim=True)
    return f.exp()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_sinkhorn_s_limit_and_its_derivatives(n):
    logits = torch.randn(2, n, n, dtype=torch.float64, requires_grad=True)
    x = maps.doubly_stochastic(logits)
    torch.testing.assert_close(x, sinkhorn(logits, 2000))
    g = torch.randn(2, n, n, dtype=torch.float64)
    (ours,) = torch.autograd.grad(x, logits, g)
    (unrolled,) = torch.autograd.grad(sinkhorn(logits, 500), logits, g)
    torch.testing.assert_close(ours, unrolled, rtol=1e-8, atol=1e-10)
    torch.autograd.gradcheck(maps.doubly_stochastic, logits)
    torch.autograd.gradgradcheck(maps.doubly_stochastic, logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [10, 60])
def test_logits_far_apart_are_scaled_to_rounding(dtype, width):
    """Sinkhorn's own iteration needs more than 20000 sweeps for 6 x 6 logits over [0, 60]."""
    g = torch.Generator().manual_seed(0)
    logits = width * torch.rand(20, 6, 6, generator=g, dtype=dtype)
    x = maps.doubly_stochastic(logits)
    assert tm.DoublyStochastic().residual(x).max() < 20 * torch.finfo(dtype).eps


def test_the_simplex_is_a_part_of_a_sphere_of_radius_two():
    M, g = tm.Multinomial(), torch.Generator().manual_seed(0)
    x, y = M.random(2, 5, generator=g, dtype=torch.float64)
    assert M.dist(x, y) == pytest.approx(2 * math.acos(float((x * y).sqrt().sum())), rel=1e-12)
    # Newton's method in logits and descent on the simplex minimize the same cross-entropy.
    q = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    start = torch.full((3,), 1 / 3, dtype=torch.float64)
    found = tm.minimize(lambda p: -(q * p.log()).sum(), start, M, tol=1e-10)
    torch.testing.assert_close(found.x, q, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [1.0, 1e-4])
def test_inverse_retractions_of_the_simplex_lead_to_the_point(dtype, gap):
    """For points far apart and for near ones; float32 agrees with float64."""
    g, eps = torch.Generator().manual_seed(0), torch.finfo(dtype).eps
    x, other = tm.Multinomial().random(2, 50, 6, generator=g, dtype=dtype)
    y = x + gap * (other - x)
    for retraction in (tm.Projection(), tm.Exp()):
        M = tm.Multinomial(retraction=retraction)
        v = M.inverse_retract(x, y)
        assert (M.retract(x, v) - y).abs().max() < 20 * eps
        wide = M.inverse_retract(*(p.double() / p.double().sum(-1, keepdim=True) for p in (x, y)))
        assert (v - wide).norm(dim=-1).max() < 100 * eps * max(1.0, float(wide.norm(dim=-1).max()))


def test_projection_to_the_simplex_is_the_nearest_point():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(50, 6, generator=g, dtype=torch.float64)
    p = tm.Multinomial().project(z)
    others = tm.Multinomial().random(200, 1, 6, generator=g, dtype=torch.float64)
    assert ((z - p).norm(dim=-1) <= (z - others).norm(dim=-1) + 1e-12).all()


def test_an_assignment_is_found_on_doubly_stochastic_matrices():
    """A linear cost with entropy tends to the assignment that scipy finds."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.rand(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    M = tm.DoublyStochastic()
    start = torch.full((5, 5), 0.2, dtype=torch.float64)
    found = tm.minimize(lambda x: (x * cost).sum() + 0.01 * (x * x.log()).sum(), start, M, tol=1e-7)
    assert tm.DoublyStochastic().residual(found.x) < 1e-12
    _, columns = linear_sum_assignment(cost.numpy())
    _, ours = linear_sum_assignment(-found.x.numpy())
    assert (ours == columns).all()


def test_rigid_motions_against_the_matrix_exponential():
    M, g = tm.SpecialEuclidean(retraction=tm.Screw()), torch.Generator().manual_seed(0)
    x = M.random(4, 4, generator=g, dtype=torch.float64)
    v = M.random_tangent(x, generator=g)
    twist = torch.linalg.inv(x) @ v
    expected = x @ torch.from_numpy(scipy.linalg.expm(twist.numpy()))
    torch.testing.assert_close(M.retract(x, v), expected, rtol=1e-12, atol=1e-12)
    # Left-invariant: moving both points does not change the logarithm.
    y, z = M.random(2, 4, 4, generator=g, dtype=torch.float64)
    assert M.dist(z @ x, z @ y) == pytest.approx(float(M.dist(x, y)), rel=1e-12)
    half = torch.eye(4)
    half[:2, :2] = -torch.eye(2)
    assert torch.isnan(M.log(torch.eye(4), half)).any()
    near = half.clone()
    c, s = math.cos(math.pi - 1e-4), math.sin(math.pi - 1e-4)
    near[:2, :2] = torch.tensor([[c, -s], [s, c]])
    near[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    assert (M.exp(torch.eye(4), M.log(torch.eye(4), near)) - near).abs().max() < 1e-6
