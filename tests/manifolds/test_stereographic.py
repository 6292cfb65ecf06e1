"""The stereographic model of constant curvature against the other models, and through zero."""

import math

import pytest
import torch

import torchmanifold as tm

F64 = torch.float64
CURVATURES = (-1.0, -0.3, 0.0, 0.7, 1.7)


def _pair(M, n=3, dtype=F64):
    generator = torch.Generator().manual_seed(0)
    x, y = (M.random(20, n, dtype=dtype, generator=generator) for _ in range(2))
    return x, y


@pytest.mark.parametrize("k", [-1.3, -0.4])
def test_the_map_to_the_hyperboloid_is_an_isometry(k):
    M, other = tm.Stereographic(k), tm.Lorentz(-k)
    x, y = _pair(M)
    torch.testing.assert_close(other.dist(M.to_lorentz(x), M.to_lorentz(y)), M.dist(x, y))
    torch.testing.assert_close(M.from_lorentz(M.to_lorentz(x)), x)
    assert other.residual(M.to_lorentz(x)).max() < 1e-14
    ball = tm.PoincareBall(-k)
    torch.testing.assert_close(ball.dist(x, y), M.dist(x, y))


@pytest.mark.parametrize("k", [0.4, 1.3])
def test_the_map_to_the_sphere_is_an_isometry(k):
    M, other = tm.Stereographic(k), tm.Scaled(tm.Sphere(), k**-0.5)
    x, y = _pair(M)
    torch.testing.assert_close(other.dist(M.to_sphere(x), M.to_sphere(y)), M.dist(x, y))
    torch.testing.assert_close(M.from_sphere(M.to_sphere(x)), x)
    far = M.exp(x, 0.999 * math.pi / k**0.5 * M.random_tangent(x))
    torch.testing.assert_close(other.dist(M.to_sphere(x), M.to_sphere(far)), M.dist(x, far))


@pytest.mark.parametrize("k", [1e-13, 1e-9, 1e-5])
def test_everything_is_smooth_through_curvature_zero(k):
    flat, x, y = tm.Stereographic(0.0), *_pair(tm.Stereographic(0.0))
    v = flat.random_tangent(x)
    for sign in (-1, 1):
        M = tm.Stereographic(sign * k)
        for got, wanted in (
            (M.dist(x, y), flat.dist(x, y)),
            (M.log(x, y), flat.log(x, y)),
            (M.exp(x, v), flat.exp(x, v)),
        ):
            assert (got - wanted).abs().max() < 100 * k + 1e-14
    torch.testing.assert_close(flat.dist(x, y), 2 * (x - y).norm(dim=-1))


@pytest.mark.parametrize("k", CURVATURES)
def test_distances_have_derivatives_at_coinciding_points(k):
    M = tm.Stereographic(k)
    x = _pair(M)[0][:2].requires_grad_()
    (gradient,) = torch.autograd.grad(M.dist(x, x.detach()).sum(), x)
    assert (gradient == 0).all()
    assert torch.autograd.gradcheck(lambda x: M.dist(x, _pair(M)[1][:2]), (x,))
    assert torch.autograd.gradgradcheck(lambda x: M.dist(x, _pair(M)[1][:2]), (x,))


@pytest.mark.parametrize(
    ("radius", "relative"), [(0.5, 1e-6), (2.0, 1e-6), (4.0, 3e-6), (6.0, 2e-5), (8.0, 2e-4)]
)
def test_the_accuracy_of_distances_in_single_precision_falls_with_the_radius(radius, relative):
    """The rounding of coordinates makes it so; the formulas of both models add no more."""
    M, other, n = tm.Stereographic(-1.0), tm.Lorentz(), 4
    generator = torch.Generator().manual_seed(0)
    direction = tm.Sphere().random(500, n, dtype=F64, generator=generator)
    x = M.exp(torch.zeros(500, n, dtype=F64), radius * direction / 2)
    y = M.exp(x, 0.01 * M.random_tangent(x, generator=generator))

    def error(space, x, y):
        """Of the distance of the rounded points."""
        x, y = space.project(x.float()), space.project(y.float())
        exact = space.dist(space.project(x.double()), space.project(y.double()))
        return ((space.dist(x, y).double() - exact).abs() / exact).max()

    assert error(M, x, y) < relative
    assert error(other, M.to_lorentz(x), M.to_lorentz(y)) < relative


def test_wrong_curvatures_and_models_are_refused():
    with pytest.raises(ValueError, match="curvature must be a finite number, got nan"):
        tm.Stereographic(math.nan)
    with pytest.raises(ValueError, match="to_lorentz: the curvature must be negative"):
        tm.Stereographic(1.0).to_lorentz(torch.zeros(2))
    with pytest.raises(ValueError, match="to_sphere: the curvature must be positive"):
        tm.Stereographic(0.0).to_sphere(torch.zeros(2))


def test_opposite_points_of_the_hyperboloid_have_right_derivatives():
    """Their last entries add up to rounding alone, which has no direction."""
    M = tm.Lorentz()
    x = M.exp(torch.eye(1, 3, dtype=F64)[0], torch.tensor([0.0, 0.3, 0.4], dtype=F64))
    y = x * torch.tensor([1.0, -1.0, -1.0], dtype=F64) + torch.tensor([0, 1e-16, 0], dtype=F64)
    x = x.requires_grad_()
    (egrad,) = torch.autograd.grad(M.dist(x, y), x)
    gradient, u = M.gradient(x.detach(), egrad), M.log(x.detach(), y)
    torch.testing.assert_close(gradient, -u / M.norm(x.detach(), u))
