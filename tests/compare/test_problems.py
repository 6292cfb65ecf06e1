"""Each problem's optimum against another computation, and that methods reach it."""

import numpy as np
import pytest
import scipy
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from torchmanifold.optim.compare.problems import (
    PROBLEMS,
    Problem,
    brockett,
    completion,
    pca,
    procrustes,
    spd_mean,
)
from torchmanifold.optim.compare.run import perform
from torchmanifold.optim.compare.settings import Run, task

EXACT = [name for name in PROBLEMS if isinstance(task(name), Problem)]


def at_solution(problem):
    model = problem.model(torch.Generator().manual_seed(0))
    model.weight.data.copy_(problem.solution)
    return problem.measure(model)


@pytest.mark.parametrize("name", EXACT)
def test_solution_is_a_stationary_point_with_the_exact_value(name):
    values = at_solution(task(name))
    assert abs(values["gap"]) < 1e-12
    assert values["gradient_norm"] < 1e-12
    assert values["residual"] < 1e-12


@pytest.mark.parametrize("name", EXACT)
def test_no_point_nearby_is_better(name):
    problem = task(name)
    M, x = problem.manifold, problem.solution
    for seed in range(5):
        v = M.random_tangent(x, generator=torch.Generator().manual_seed(seed))
        assert problem.loss(M.retract(x, 0.01 * v), *problem.data) >= problem.exact - 1e-14


def test_pca_against_scikit_learn():
    digits = load_digits().data
    fitted = PCA(10, svd_solver="full").fit(digits)
    # scikit-learn divides by n - 1, and the problem by the largest variance.
    share = fitted.explained_variance_.sum() / fitted.explained_variance_[0]
    assert pca().exact == pytest.approx(-share / 2, rel=1e-12)


def test_brockett_against_assignment():
    a, weights = (tensor.numpy() for tensor in brockett().data)
    values = np.linalg.eigvalsh(a)
    costs = np.outer(weights, values) / 2
    rows, columns = scipy.optimize.linear_sum_assignment(costs)
    assert brockett().exact == pytest.approx(costs[rows, columns].sum(), rel=1e-12)


def test_procrustes_against_scipy():
    problem = procrustes()
    a, b = (tensor.numpy() for tensor in problem.data)
    rotation, _ = scipy.linalg.orthogonal_procrustes(a, b)
    assert np.linalg.det(rotation) > 0  # so that the best orthogonal matrix is a rotation
    assert problem.exact == pytest.approx(np.sum((a @ rotation - b) ** 2) / 2, rel=1e-10)


def test_frechet_mean_by_its_first_order_condition_in_scipy():
    problem = spd_mean()
    root = scipy.linalg.sqrtm(problem.solution.numpy())
    inverse = np.linalg.inv(root)
    logs = [scipy.linalg.logm(inverse @ c @ inverse) for c in problem.data[0].numpy()]
    assert np.linalg.norm(np.mean(logs, axis=0)) < 1e-12
    squares = [np.linalg.norm(log) ** 2 for log in logs]
    assert problem.exact == pytest.approx(np.mean(squares) / 2, rel=1e-12)


def test_completion_against_quasi_newton():
    problem = completion()
    photo, mask = (tensor.numpy() for tensor in problem.data)
    u, s, vh = np.linalg.svd(problem.solution.numpy())
    factors = np.concatenate([u[:, :6] * np.sqrt(s[:6]), vh[:6].T * np.sqrt(s[:6])])
    start = factors * (1 + 0.05 * np.random.default_rng(0).standard_normal(factors.shape))

    def loss(z):
        left, right = z.reshape(-1, 6)[:64], z.reshape(-1, 6)[64:]
        error = mask * (left @ right.T - photo)
        gradient = np.concatenate([error @ right, error.T @ left])
        return np.sum(error**2) / 2, gradient.ravel()

    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-9}
    found = scipy.optimize.minimize(
        loss, start.ravel(), jac=True, method="L-BFGS-B", options=options
    )
    assert loss(start.ravel())[0] > 1.1 * found.fun
    assert problem.exact == pytest.approx(2 * found.fun / 1.2, rel=1e-8)


def test_descriptors_are_covariances_of_all_digits():
    c = spd_mean().data[0]
    assert c.shape == (10, 12, 12)
    assert torch.equal(c, c.mT)
    assert torch.linalg.eigvalsh(c).min() >= 0.02


@pytest.mark.parametrize("name", PROBLEMS)
def test_starts_lie_on_the_manifold_and_follow_the_seed(name):
    problem = task(name)

    def start(seed):
        model = problem.model(torch.Generator().manual_seed(seed))
        return model.get_parameter(problem.weight).detach()

    x = start(0)
    assert problem.manifold.residual(x) < 1e-12
    assert torch.equal(x, start(0))
    assert not torch.equal(x, start(1))
    # float32 starts at the same point.
    low = problem.to(torch.float32, "cpu").model(torch.Generator().manual_seed(0))
    assert torch.allclose(low.get_parameter(problem.weight).double(), x, atol=1e-6)


def test_runs_leave_the_data_alone():
    before = [tensor.clone() for tensor in task("spd-mean").data]
    perform(Run("spd-mean", "riemannian-sgd", "float64", 0.003, 0, steps=3, device="cpu"))
    assert all(torch.equal(a, b) for a, b in zip(before, task("spd-mean").data, strict=True))


REACHED = [
    ("pca", "riemannian-sgd", 0.3, 300),
    ("pca", "cayley-adam", 0.1, 300),
    ("pca", "polar-every10-sgd", 0.3, 300),
    ("brockett", "riemannian-sgd", 0.3, 300),
    ("brockett", "exp-every1-sgd", 0.3, 300),
    ("procrustes", "riemannian-sgd", 0.1, 300),
    ("procrustes", "qr-every1-sgd", 0.1, 300),
    ("procrustes", "exp-every10-adam", 0.03, 300),
    ("spd-mean", "exp-sgd", 0.1, 300),
    ("spd-mean", "exp-every1-sgd", 0.003, 600),
    ("completion", "riemannian-sgd", 0.3, 300),
    ("completion", "projection-every1-sgd", 0.3, 300),
]


@pytest.mark.parametrize(("problem", "method", "lr", "steps"), REACHED)
def test_methods_reach_the_optimum_in_float64(problem, method, lr, steps):
    end = perform(Run(problem, method, "float64", lr, 0, steps, "cpu"))[-1]
    assert abs(end["gap"]) < 1e-9
    assert end["residual"] < 1e-12
    assert not end["diverged"]


def test_network_learns_and_its_kernel_stays_a_rotation():
    rows = perform(Run("digits-rnn", "cayley-adam", "float32", 0.003, 0, steps=40, device="cpu"))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > 0.4
    assert rows[-1]["residual"] < 1e-5
