"""Logarithm and distance of the Stiefel manifold, in both metrics."""

import math

import pytest
import torch

import torchmanifold as tm

F64 = torch.float64
METRICS = (tm.EuclideanMetric(), tm.Canonical())


def _pairs(M, n, p, length, dtype=F64):
    generator = torch.Generator().manual_seed(0)
    x = M.random(20, n, p, dtype=dtype, generator=generator)
    u = length * M.random_tangent(x, generator=generator)
    return x, u, M.exp(x, u)


@pytest.mark.parametrize("metric", METRICS, ids=repr)
@pytest.mark.parametrize("shape", [(6, 3), (5, 4), (40, 8), (4, 2)])
@pytest.mark.parametrize("length", [1e-5, 0.5, 2.0, 0.85 * math.pi])
def test_it_inverts_the_exponential_as_far_as_geodesics_are_unique(metric, shape, length):
    M = tm.Stiefel(metric=metric)
    for dtype in (F64, torch.float32):
        x, u, y = _pairs(M, *shape, length, dtype)
        tolerance = 3e3 * torch.finfo(dtype).eps * (1 if length < 1 else 10)
        assert (M.log(x, y) - u).abs().max() < tolerance
        assert (M.dist(x, y) - length).abs().max() < tolerance


@pytest.mark.parametrize("metric", METRICS, ids=repr)
@pytest.mark.parametrize("dtype", [F64, torch.complex128])
@pytest.mark.parametrize("shape", [(5, 2), (5, 1), (4, 4)])
def test_the_exponential_as_a_retraction_has_an_inverse(metric, dtype, shape):
    M = tm.Stiefel(metric=metric, retraction=tm.Exp())
    x, u, y = _pairs(M, *shape, 1.0, dtype)
    torch.testing.assert_close(M.inverse_retract(x, y), u, atol=1e-12, rtol=0)
    seen = tm.Transposed(M)
    v = seen.inverse_retract(x.mT, y.mT)
    torch.testing.assert_close(v, u.mT, atol=1e-12, rtol=0)


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_a_half_turn_of_a_phase_bounds_the_radius_of_complex_matrices(metric):
    M = tm.Stiefel(metric=metric)
    x, _, _ = _pairs(M, 5, 2, 1.0, torch.complex128)
    turn = torch.tensor([1j, 0.0], dtype=torch.complex128)
    half = math.pi * M.norm(x, x * turn)
    bound = math.pi / (1.0 if metric == tm.EuclideanMetric() else math.sqrt(2))
    torch.testing.assert_close(half, torch.full_like(half, bound))
    ends = M.exp(x, math.pi * x * turn), M.exp(x, -math.pi * x * turn)
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_one_column_is_the_sphere_and_a_square_point_the_group(metric):
    M = tm.Stiefel(metric=metric)
    x, _, y = _pairs(M, 5, 1, 2.5)
    angle = tm.Sphere().dist(x[..., 0], y[..., 0])
    torch.testing.assert_close(M.dist(x, y), angle)
    x, _, y = _pairs(tm.SpecialOrthogonal(), 4, 4, 2.0)
    scale = 1.0 if metric == tm.EuclideanMetric() else 0.5**0.5
    torch.testing.assert_close(M.dist(x, y), scale * tm.SpecialOrthogonal().dist(x, y))
    other = y.clone()
    other[..., 0] *= -1
    assert torch.isinf(M.dist(x, other)).all() and torch.isnan(M.log(x, other)).any()


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_derivatives_by_the_implicit_function_theorem(metric):
    M = tm.Stiefel(metric=metric)
    x, _, y = (part[0] for part in _pairs(M, 5, 2, 1.2))
    a, b = torch.zeros(2, 5, 2, dtype=F64).unbind()
    a, b = a.requires_grad_(), b.requires_grad_()

    def on(function):
        return lambda a, b: function(M.project(x + a), M.project(y + b))

    assert torch.autograd.gradcheck(on(M.log), (a, b))
    assert torch.autograd.gradcheck(on(M.dist), (a, b))
    assert torch.autograd.gradgradcheck(on(M.dist), (a, b))


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_the_gradient_of_half_the_squared_distance_is_minus_the_logarithm(metric):
    M = tm.Stiefel(metric=metric)
    x, u, y = _pairs(M, 6, 3, 2.0)
    x.requires_grad_()
    (egrad,) = torch.autograd.grad(M.dist(x, y).square().sum() / 2, x)
    torch.testing.assert_close(M.gradient(x.detach(), egrad), -u)
    (egrad,) = torch.autograd.grad(M.dist(x, x.detach()).sum(), x)
    assert (egrad == 0).all()


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_far_points_have_a_geodesic_that_ends_there_or_nan(metric):
    """Past the injectivity radius another geodesic may be found, never a wrong one."""
    M = tm.Stiefel(metric=metric)
    x, _, y = _pairs(M, 4, 2, 4.5)
    u = M.log(x, y)
    found = ~torch.isnan(u).any(-1).any(-1)
    assert found.any()
    torch.testing.assert_close(M.exp(x, u)[found], y[found], atol=1e-11, rtol=0)


def test_a_bad_point_leaves_its_neighbours_alone():
    M = tm.Stiefel()
    x, u, y = _pairs(M, 6, 3, 1.0)
    y[3] = torch.nan
    v = M.log(x, y)
    assert torch.isnan(v[3]).all() and not torch.isnan(v[:3]).any()
    torch.testing.assert_close(v[4:], u[4:])


@pytest.mark.parametrize("metric", METRICS, ids=repr)
@pytest.mark.parametrize("dtype", [F64, torch.complex128])
def test_the_mean_of_opposite_ends_of_geodesics_is_their_middle(metric, dtype):
    M = tm.Stiefel(metric=metric)
    x, _, _ = _pairs(M, 6, 3, 0.6, dtype)
    middle = x[0].expand(5, 6, 3)
    u = 0.6 * M.random_tangent(middle, generator=torch.Generator().manual_seed(1))
    found = M.mean(torch.cat([M.exp(middle, u), M.exp(middle, -u)]))
    assert found.converged
    torch.testing.assert_close(found.point, x[0], atol=1e-12, rtol=0)
