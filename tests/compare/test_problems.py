"""Each problem's optimum against another computation, and that methods reach it."""

import doctest

import numpy as np
import pytest
import scipy
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch.utils._pytree import tree_map

from torchmanifold.optim.compare import PROBLEMS, Run, perform
from torchmanifold.optim.compare.task import Task

POINTS = [name for name, problem in PROBLEMS.items() if not problem.is_network]


def instance(name):
    return PROBLEMS[name].probe


def run(problem, method, lr, steps, dtype="float64"):
    return perform(Run(problem, method, (("lr", lr),), 0, steps, dtype))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_example_of_every_problem(name):
    make = PROBLEMS[name].make
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = list(finder.find(make, make.__name__, globs=make.__globals__))
    globs = {**make.__globals__, make.__name__: PROBLEMS[name]}
    assert sum(len(test.examples) for test in found) > 0
    for test in found:
        test.globs = globs
        assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", POINTS)
def test_solution_is_a_stationary_point_with_the_exact_value(name):
    task = Task(PROBLEMS[name], 0, "float64", "cpu")
    values = task.measure(instance(name).solution)
    assert abs(values["gap"]) < 1e-12
    assert values["gradient_norm"] < 1e-12
    assert values["residual"] < 1e-12


@pytest.mark.parametrize("name", POINTS)
def test_no_point_nearby_is_better(name):
    M, given = PROBLEMS[name].manifold, instance(name)
    for seed in range(5):
        v = M.random_tangent(given.solution, generator=torch.Generator().manual_seed(seed))
        near = M.retract(given.solution, tree_map(lambda part: 0.01 * part, v))
        assert given.loss(near, *given.data) >= given.exact - 1e-14


def test_pca_against_scikit_learn():
    fitted = PCA(10, svd_solver="full").fit(load_digits().data)
    # scikit-learn divides by n - 1, and the problem by the largest variance.
    share = fitted.explained_variance_.sum() / fitted.explained_variance_[0]
    assert instance("pca").exact == pytest.approx(-share / 2, rel=1e-12)


def test_brockett_against_assignment():
    a, weights = (tensor.numpy() for tensor in instance("brockett").data)
    costs = np.outer(weights, np.linalg.eigvalsh(a)) / 2
    rows, columns = scipy.optimize.linear_sum_assignment(costs)
    exact = costs[rows, columns].sum()
    assert instance("brockett").exact == pytest.approx(exact, rel=1e-12)


def test_procrustes_against_scipy():
    a, b = (tensor.numpy() for tensor in instance("procrustes").data)
    rotation, _ = scipy.linalg.orthogonal_procrustes(a, b)
    assert np.linalg.det(rotation) > 0  # so that the best orthogonal matrix is a rotation
    exact = np.sum((a @ rotation - b) ** 2) / 2
    assert instance("procrustes").exact == pytest.approx(exact, rel=1e-10)


def test_frechet_mean_by_its_first_order_condition_in_scipy():
    given = instance("spd-mean")
    root = scipy.linalg.sqrtm(given.solution.numpy())
    inverse = np.linalg.inv(root)
    logs = [scipy.linalg.logm(inverse @ c @ inverse) for c in given.data[0].numpy()]
    assert np.linalg.norm(np.mean(logs, axis=0)) < 1e-12
    squares = [np.linalg.norm(log) ** 2 for log in logs]
    assert given.exact == pytest.approx(np.mean(squares) / 2, rel=1e-12)


def test_completion_against_quasi_newton():
    given = instance("completion")
    photo, mask = (tensor.numpy() for tensor in given.data)
    u, s, vh = np.linalg.svd(given.solution.numpy())
    factors = np.concatenate([u[:, :6] * np.sqrt(s[:6]), vh[:6].T * np.sqrt(s[:6])])
    first = factors * (1 + 0.05 * np.random.default_rng(0).standard_normal(factors.shape))

    def loss(z):
        left, right = z.reshape(-1, 6)[:64], z.reshape(-1, 6)[64:]
        error = mask * (left @ right.T - photo)
        gradient = np.concatenate([error @ right, error.T @ left])
        return np.sum(error**2) / 2, gradient.ravel()

    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-9}
    found = scipy.optimize.minimize(
        loss, first.ravel(), jac=True, method="L-BFGS-B", options=options
    )
    assert loss(first.ravel())[0] > 1.1 * found.fun
    assert given.exact == pytest.approx(2 * found.fun / 1.2, rel=1e-8)


def test_descriptors_are_covariances_of_all_digits():
    c = instance("spd-mean").data[0]
    assert c.shape == (10, 12, 12)
    assert torch.equal(c, c.mT)
    assert torch.linalg.eigvalsh(c).min() >= 0.02


@pytest.mark.parametrize("name", PROBLEMS)
def test_first_points_lie_on_the_manifold_and_follow_the_seed(name):
    problem = PROBLEMS[name]

    def first(seed, dtype=problem.dtypes[-1]):
        task = Task(problem, seed, dtype, "cpu")
        weights = [task.model.get_parameter(name).detach() for name in task.weights]
        return torch.cat([weight.flatten() for weight in weights]), task.measure()["residual"]

    x, residual = first(0)
    assert residual < (1e-5 if x.dtype == torch.float32 else 1e-12)
    assert torch.equal(x, first(0)[0])
    assert not torch.equal(x, first(1)[0])
    assert torch.allclose(first(0, "float32")[0].to(x.dtype), x, atol=1e-6)


def test_runs_leave_the_data_alone():
    before = [tensor.clone() for tensor in instance("spd-mean").data]
    run("spd-mean", "riemannian-sgd", 0.003, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, instance("spd-mean").data, strict=True))


REACHED = [
    ("pca", "riemannian-sgd", 0.3, 300),
    ("pca", "polar-every10-sgd", 0.3, 300),
    ("brockett", "exp-every1-sgd", 0.3, 300),
    ("procrustes", "qr-every1-sgd", 0.1, 300),
    ("procrustes", "exp-every10-adam", 0.03, 300),
    ("spd-mean", "exp-sgd", 0.1, 300),
    ("spd-mean", "exp-every1-sgd", 0.003, 600),
    ("completion", "projection-every1-sgd", 0.3, 300),
]


@pytest.mark.parametrize(("problem", "method", "lr", "steps"), REACHED)
def test_methods_reach_the_optimum_in_float64(problem, method, lr, steps):
    end = run(problem, method, lr, steps)[-1]
    assert abs(end["gap"]) < 1e-9
    assert end["residual"] < 1e-12
    assert not end["diverged"]


@pytest.mark.parametrize("method", ["trust-region", "lbfgs"])
@pytest.mark.parametrize("problem", POINTS)
def test_solvers_reach_the_optimum_in_float64(problem, method):
    end = perform(Run(problem, method, (), 0, 300, "float64"))[-1]
    assert abs(end["gap"]) < 1e-10 and end["residual"] < 1e-11
    assert end["evaluations"] > 0 and not end["diverged"]


def test_network_learns_and_its_kernel_stays_a_rotation():
    rows = run("digits-rnn", "cayley-adam", 0.003, 40, "float32")
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > 0.4
    assert rows[-1]["residual"] < 1e-5
