"""Sums of squares: against scipy, known solutions, and the general solvers."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

import torchmanifold as tm
from torchmanifold.optim.solvers import LevenbergMarquardt

METHODS = ["lm", "trust-region"]


def rosenbrock(x: Tensor) -> Tensor:
    return torch.stack([10 * (x[..., 1] - x[..., 0] ** 2), 1 - x[..., 0]], -1)


@pytest.mark.parametrize("method", METHODS)
def test_rosenbrock_as_scipy_solves_it(method):
    x0 = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    found = tm.least_squares(rosenbrock, x0, method=method, tol=1e-10)
    expected = scipy.optimize.least_squares(
        lambda x: rosenbrock(torch.from_numpy(x)).numpy(), x0.numpy(), method="lm"
    )
    assert found.success and found.nit < 60
    np.testing.assert_allclose(found.x.numpy(), expected.x, atol=1e-8)
    assert found.cost < 1e-18 and found.residuals.shape == (2,)


@pytest.mark.parametrize("method", METHODS)
def test_a_curve_with_residuals_that_do_not_vanish(method):
    g = torch.Generator().manual_seed(0)
    t = torch.linspace(0, 2, 30, dtype=torch.float64)
    y = 2 * torch.exp(-1.3 * t) + 0.5 + 0.05 * torch.randn(30, generator=g, dtype=torch.float64)

    def residuals(p, t, y):
        return p[0] * torch.exp(-p[1] * t) + p[2] - y

    p0 = torch.ones(3, dtype=torch.float64)
    found = tm.least_squares(residuals, p0, method=method, args=(t, y), tol=1e-9)
    expected = scipy.optimize.least_squares(
        lambda p: residuals(torch.from_numpy(p), t, y).numpy(), p0.numpy(), xtol=1e-14, gtol=1e-14
    )
    assert found.success
    np.testing.assert_allclose(found.x.numpy(), expected.x, rtol=1e-6)
    assert found.cost == pytest.approx(expected.cost, rel=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_poses_from_points_in_a_batch(method, dtype):
    """Rigid motions of 20 problems in one call; each stops on its own."""
    g = torch.Generator().manual_seed(0)
    M = tm.SpecialEuclidean()
    truth = M.random(20, 4, 4, generator=g, dtype=dtype)
    points = torch.randn(20, 10, 3, generator=g, dtype=dtype)
    seen = points @ truth[:, :3, :3].mT + truth[:, None, :3, 3]

    def residuals(x, points, seen):
        return (points @ x[:, :3, :3].mT + x[:, None, :3, 3] - seen).flatten(1)

    v = 0.5 * M.random_tangent(truth, generator=g)
    found = tm.least_squares(
        residuals,
        M.exp(truth, v),
        M,
        method,
        args=(points, seen),
        tol=1e-4 if dtype == torch.float32 else 1e-9,
    )
    assert found.success.all() and found.cost.shape == (20,)
    assert (found.x - truth).abs().max() < (1e-4 if dtype == torch.float32 else 1e-8)
    assert found.residual.max() < 1e-5


def test_gauss_newton_is_quadratic_where_residuals_vanish():
    g = torch.Generator().manual_seed(1)
    a = torch.randn(12, 4, generator=g, dtype=torch.float64)
    r = tm.Stiefel().random(4, 2, generator=g, dtype=torch.float64)
    x0 = tm.Stiefel().retract(r, 0.3 * tm.Stiefel().random_tangent(r, generator=g))
    found = tm.least_squares(
        lambda x: ((a @ x) ** 3 - (a @ r) ** 3).flatten(), x0, tm.Stiefel(), tol=1e-11,
        method=LevenbergMarquardt(kappa=1e-6),
    )  # fmt: skip
    norms = found.history["gradient_norm"]
    assert found.success and found.nit < 15
    last = [float(n) for n in norms[-4:]]
    assert last[-2] < last[-3] ** 1.3 or last[-1] < 1e-12


def test_saved_and_resumed_bit_for_bit():
    x0 = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    whole = tm.least_squares(rosenbrock, x0, stop=tm.stop.Iterations(9))
    first = tm.least_squares(rosenbrock, x0, stop=tm.stop.Iterations(4))
    rest = tm.least_squares(rosenbrock, x0, stop=tm.stop.Iterations(9), state=first.state)
    assert torch.equal(rest.x, whole.x) and rest.nit == whole.nit


REFUSED = [
    (lambda x: x.sum(), "residuals are a real tensor of shape"),
    (lambda x: 3.0, "got float"),
    (lambda x: x * float("nan"), "its value at x0 is not finite"),
]


@pytest.mark.parametrize(("fun", "message"), REFUSED)
def test_bad_residuals_are_refused(fun, message):
    with pytest.raises(ValueError, match=message):
        tm.least_squares(fun, torch.ones(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="method: expected one of lm, trust-region"):
        tm.least_squares(rosenbrock, torch.ones(2), method="dogbox")
    with pytest.raises(ValueError, match="damping must be positive"):
        LevenbergMarquardt(damping=0)
