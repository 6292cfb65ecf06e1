"""Factored matrices of a fixed rank, against the same geometry on dense ones."""

import pytest
import torch

import torchmanifold as tm

M, DENSE = tm.FactoredFixedRank(2), tm.FixedRank(2)


def _dense(x, a):
    """The matrix of a tangent vector."""
    (u, s, v), (left, middle, right) = x, a
    return left @ s @ v.mH + u @ middle @ v.mH + u @ s @ right.mH


@pytest.fixture
def point():
    return M.random(M.shape(6, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_gradient_hessian_and_metric_are_those_of_dense_points(point):
    target = torch.randn(6, 5, dtype=torch.float64)

    def loss(matrix):
        return (matrix - target).sin().square().sum()

    def factored(u, s, v):
        return loss(u @ s @ v.mT)

    a, b = M.random_tangent(point), M.random_tangent(point)
    slope = torch.func.grad(factored, argnums=(0, 1, 2))
    _, bend = torch.func.jvp(slope, point, a)
    x, along = M.dense(point), _dense(point, a)
    egrad = torch.func.grad(loss)(x)
    _, ehess = torch.func.jvp(torch.func.grad(loss), (x,), (along,))
    gradient, hessian = M.gradient(point, slope(*point)), M.hessian(point, slope(*point), bend, a)
    torch.testing.assert_close(_dense(point, gradient), DENSE.gradient(x, egrad))
    torch.testing.assert_close(_dense(point, hessian), DENSE.hessian(x, egrad, ehess, along))
    torch.testing.assert_close(M.inner(point, a, b), (along * _dense(point, b)).sum())
    torch.testing.assert_close(DENSE.tangent(x, along), along)


def test_the_retraction_is_orthographic(point):
    """It adds a normal vector to `x + v`, and is the truncated SVD to second order."""
    a, x = M.random_tangent(point), M.dense(point)
    gaps = []
    for h in (1e-1, 1e-2):
        y = M.dense(M.retract(point, tuple(h * part for part in a)))
        moved = x + h * _dense(point, a)
        assert DENSE.tangent(x, y - moved).norm() < 1e-14
        gaps.append((y - DENSE.project(moved)).norm())
    assert gaps[1] < 2e-3 * gaps[0]


@pytest.mark.parametrize("length", [1e3, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_steps_and_steps_that_lose_rank_stay_on_it(length, dtype):
    x = M.random(M.shape(7, 4), dtype=dtype)
    long = tuple(length * part for part in M.random_tangent(x))
    lost = (torch.zeros_like(x[0]), -x[1], torch.zeros_like(x[2]))
    for a in (long, lost):
        assert M.residual(M.retract(x, a)) <= M.tolerance(M.shape(7, 4), dtype)


def test_factors_are_those_of_the_nearest_matrix():
    z = torch.randn(3, 6, 5, dtype=torch.complex128)
    torch.testing.assert_close(M.dense(M.factors(z)), DENSE.project(z))


def test_a_lower_rank_has_residual_one_and_is_lifted():
    u, s, v = M.random(M.shape(5, 4), dtype=torch.float64)
    flat = (u, s.index_fill(0, torch.tensor([1]), 0.0), v)
    assert M.residual(flat) == 1
    assert M.residual(M.project(flat)) < 1e-14


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tm.FactoredFixedRank(0), "rank must be a positive integer, got 0"),
        (lambda: M.random(5, 4), r"shape\(n, p\) gives them"),
        (lambda: M.random(M.shape(5, 1)), "n, p >= 2"),
        (lambda: M.shape(5), r"as in shape\(60, 50\), got \(5,\)"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _completion(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    n = 30
    truth = torch.randn(n, 2, dtype=dtype, generator=generator)
    truth = truth @ torch.randn(2, n, dtype=dtype, generator=generator)
    at = torch.randperm(n * n, generator=generator)[: n * n // 2]
    entries, seen = tm.Entries(at // n, at % n, (n, n)), truth.flatten()[at]
    start = torch.zeros(n * n, dtype=dtype).index_copy(0, at, 2 * seen).view(n, n)
    return lambda x: entries(x[0] @ x[1], x[2]) - seen, M.factors(start), truth


@pytest.mark.parametrize("method", ["trust-region", "lbfgs", "cg", "barzilai-borwein", "lm"])
def test_solvers_complete_a_matrix(method):
    residuals, x0, truth = _completion()
    if method == "lm":
        result = tm.least_squares(residuals, x0, M, tol=1e-9)
    else:
        result = tm.minimize(
            lambda x: residuals(x).square().sum() / 2, x0, M, method=method, tol=1e-9
        )
    assert result.success and result.residual < 1e-14
    torch.testing.assert_close(M.dense(result.x), truth, rtol=0, atol=1e-8)


def test_it_is_a_factor_of_a_product_in_any_order_of_names():
    residuals, x0, truth = _completion()
    result = tm.minimize(
        lambda x: residuals(x["matrix"]).square().sum() - x["sphere"][0],
        {"sphere": torch.tensor([0.6, 0.8], dtype=torch.float64), "matrix": x0},
        tm.Product(matrix=M, sphere=tm.Sphere()),
        tol=1e-7,
    )
    assert result.success
    torch.testing.assert_close(result.x["sphere"], torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(M.dense(result.x["matrix"]), truth, rtol=0, atol=1e-6)


def test_one_tensor_in_place_of_factors_is_refused():
    with pytest.raises(ValueError, match="x0: a point of FactoredFixedRank.* is a tuple"):
        tm.minimize(lambda x: x.sum(), torch.ones(4, 3), M)
