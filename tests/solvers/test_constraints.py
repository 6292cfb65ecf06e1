"""Constraints on top of a manifold: against scipy, known solutions, and the KKT conditions."""

import numpy as np
import pytest
import scipy.optimize
import torch

import torchmanifold as tm


def gradient(fun, x):
    z = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(fun(z), z)
    return g


@pytest.mark.parametrize("method", ["trust-region", "lbfgs"])
def test_nonnegative_pca_against_scipy(method):
    """The largest variance of a unit vector without negative entries."""
    g = torch.Generator().manual_seed(3)
    a = torch.randn(8, 8, generator=g, dtype=torch.float64)
    a = a @ a.mT
    a = a / torch.linalg.matrix_norm(a, 2)
    M = tm.Sphere()
    x0 = M.project(torch.ones(8, dtype=torch.float64))

    def fun(x):
        return -x @ a @ x / 2

    found = tm.minimize(fun, x0, M, method, constraints=[tm.Inequality(lambda x: x)], tol=1e-7)
    assert found.success, found.message
    assert found.violation < 1e-7 and found.kkt <= 1e-7 and found.residual < 1e-12
    expected = scipy.optimize.minimize(
        lambda x: -x @ a.numpy() @ x / 2, x0.numpy(), method="SLSQP", bounds=[(0, None)] * 8,
        constraints=[{"type": "eq", "fun": lambda x: x @ x - 1}],
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    assert found.fun == pytest.approx(expected.fun, abs=1e-6)
    (mu,) = found.multipliers
    assert (mu >= 0).all() and (mu * found.x).abs().max() < 1e-6
    lagrange = M.tangent(found.x, gradient(fun, found.x) - mu)
    assert lagrange.norm() < 1e-6


def test_equalities_on_rotations_have_the_known_solution():
    """The rotation that is nearest to a given one and leaves an axis where it is."""
    g = torch.Generator().manual_seed(0)
    M = tm.SpecialOrthogonal()
    target = M.random(3, 3, generator=g, dtype=torch.float64)
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    found = tm.minimize(
        lambda x: (x - target).square().sum() / 2,
        torch.eye(3, dtype=torch.float64),
        M,
        constraints=tm.Equality(lambda x: x @ axis - axis),
        tol=1e-8,
    )
    assert found.success and found.violation < 1e-8
    a = target[:2, :2]
    angle = np.arctan2(float(a[1, 0] - a[0, 1]), float(a[0, 0] + a[1, 1]))
    expected = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    torch.testing.assert_close(found.x[:2, :2], expected, rtol=0, atol=1e-7)


def test_several_constraints_of_both_kinds_and_arguments():
    c = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = tm.minimize(
        lambda x, c: (x - c).square().sum(),
        torch.zeros(3, dtype=torch.float64),
        args=(c,),
        constraints=[
            tm.Equality(lambda x, c: x.sum() - 3),
            tm.Inequality(lambda x, c: torch.stack([1.5 - x[2], x[0]])),
        ],
        tol=1e-8,
    )
    torch.testing.assert_close(found.x, torch.tensor([0.25, 1.25, 1.5]).double(), atol=1e-6, rtol=0)
    equality, (upper, lower) = found.multipliers
    assert found.success and upper > 0.1 and lower == 0 and len(equality) == 1


def test_what_cannot_be_satisfied_is_said():
    found = tm.minimize(
        lambda x: x.sum(),
        torch.tensor([1.0, 0.0], dtype=torch.float64),
        tm.Sphere(),
        constraints=tm.Equality(lambda x: x.sum() - 5),
    )
    assert not found.success and found.violation > 3
    assert "KKT residual" in found.message


REFUSED = [
    ({"constraints": [3]}, TypeError, "expected tm.Equality"),
    ({"constraints": tm.Equality(lambda x: 3.0)}, TypeError, "must give a real tensor, got float"),
    ({"constraints": tm.Equality(lambda x: x / 0)}, ValueError, "its value is not finite"),
    ({"constraints": tm.Equality(lambda x: x), "jac": lambda x: x}, ValueError, "leave out jac"),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED)
def test_bad_constraints_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        tm.minimize(lambda x: x.sum(), torch.ones(2, dtype=torch.float64), **options)


def test_several_problems_under_constraints_are_refused():
    x0 = torch.ones(4, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="a problem at a time"):
        tm.minimize(lambda x: x.sum(-1), x0, constraints=tm.Equality(lambda x: x))
