"""argmin: the derivative of a solution in its data, against finite differences."""

import pytest
import torch

import torchmanifold as tm

F64 = torch.float64


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_nearest_rotation():
    z = torch.randn(3, 3, dtype=F64, requires_grad=True)

    def nearest(z):
        return tm.argmin(
            lambda x, z: (x - z).square().sum(),
            tm.SpecialOrthogonal().project(z.detach() + 0.1 * torch.ones(3, 3)),
            tm.SpecialOrthogonal(),
            args=(z,),
            tol=1e-11,
        )

    assert torch.autograd.gradcheck(nearest, z, atol=1e-5)


@pytest.mark.parametrize(
    "metric", [tm.AffineInvariant(), tm.BuresWasserstein(), tm.EuclideanMetric()], ids=repr
)
def test_a_positive_definite_solution_whatever_the_metric(metric):
    """The minimizer of `tr(a x) + tr(x^-1)`, which is `a^(-1/2)`."""
    retraction = tm.Quadratic()
    M = tm.SymmetricPositiveDefinite(metric=metric, retraction=retraction)
    b = torch.randn(3, 3, dtype=F64)
    a = (b @ b.mT + torch.eye(3)).requires_grad_()

    def solution(a):
        a = (a + a.mT) / 2
        x0 = torch.eye(3, dtype=F64)
        cost = lambda x, a: (a * x).sum() + torch.linalg.inv(x).diagonal().sum()  # noqa: E731
        return tm.argmin(cost, x0, M, args=(a,), tol=1e-11)

    assert torch.autograd.gradcheck(solution, a, atol=1e-5)
    expected = tm.maps.spd_inv_sqrt(a)
    torch.testing.assert_close(solution(a), expected, atol=1e-8, rtol=1e-8)


def test_many_problems_and_several_data():
    directions = torch.randn(4, 3, dtype=F64, requires_grad=True)
    scale = torch.rand(4, dtype=F64).add(0.5).requires_grad_()
    x0 = tm.Sphere().random(4, 3, dtype=F64)

    def solution(directions, scale):
        def cost(x, directions, scale):
            return -scale * (x * directions).sum(-1) + 0.1 * (x**4).sum(-1)

        return tm.argmin(cost, x0, tm.Sphere(), args=(directions, scale), tol=1e-11)

    assert torch.autograd.gradcheck(solution, (directions, scale), atol=1e-5)


def test_points_of_several_tensors():
    z = torch.randn(3, dtype=F64, requires_grad=True)
    M = tm.Product(tm.Sphere(), tm.Euclidean(ndim=1))
    x0 = (tm.Sphere().random(3, dtype=F64), torch.zeros(3, dtype=F64))

    def solution(z):
        cost = lambda x, z: -(x[0] @ z) + (x[1] - x[0] * z).square().sum()  # noqa: E731
        return torch.cat(tm.argmin(cost, x0, M, args=(z,), tol=1e-11))

    assert torch.autograd.gradcheck(solution, z, atol=1e-5)


def test_what_is_no_strict_minimum_is_refused():
    a = torch.ones((), dtype=F64, requires_grad=True)
    x0 = torch.tensor([0.6, 0.8], dtype=F64)
    # The cost is constant on the sphere, so every point is stationary.
    x = tm.argmin(lambda x, a: a * (x @ x), x0, tm.Sphere(), args=(a,))
    with pytest.raises(RuntimeError, match="add a term that makes it a strict minimum"):
        x[0].backward()
    with pytest.raises(tm.optim.solvers.SolverError, match="not solved: 1 iterations"):
        tm.argmin(
            lambda x, a: a * (x**4).sum(), x0, tm.Sphere(), args=(a,), stop=tm.stop.Iterations(1)
        )
