"""Generalized orthogonality: eigenproblems of pencils, and matrices that are refused."""

import copy

import pytest
import scipy.linalg
import torch

import torchmanifold as tm

F64 = torch.float64


def _pencil(n=12, dtype=F64):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, n, n, dtype=dtype, generator=generator).unbind()
    return (a + a.mH) / 2, b @ b.mH / n + torch.eye(n, dtype=dtype) / 2


@pytest.mark.parametrize("dtype", [F64, torch.complex128])
@pytest.mark.parametrize("kind", [tm.GeneralizedStiefel, tm.GeneralizedGrassmann])
def test_the_trace_is_least_at_the_eigenvectors_of_the_pencil(kind, dtype):
    a, b = _pencil(dtype=dtype)
    M = kind(b)
    result = tm.minimize(
        lambda x: (x.conj() * (a @ x)).sum().real, M.random(12, 3, dtype=dtype), M, tol=1e-8
    )
    values = scipy.linalg.eigh(a.numpy(), b.numpy(), eigvals_only=True)[:3]
    assert result.success and result.fun == pytest.approx(values.sum(), abs=1e-11)
    assert result.residual < 1e-13


def test_with_the_identity_it_is_the_ordinary_manifold():
    general, plain = tm.GeneralizedStiefel(torch.eye(6, dtype=F64)), tm.Stiefel()
    x = plain.random(6, 3, dtype=F64)
    g, h, z = torch.randn(3, 6, 3, dtype=F64).unbind()
    v = plain.random_tangent(x)
    torch.testing.assert_close(general.tangent(x, z), plain.tangent(x, z))
    torch.testing.assert_close(general.gradient(x, g), plain.gradient(x, g))
    torch.testing.assert_close(general.hessian(x, g, h, v), plain.hessian(x, g, h, v))


@pytest.mark.parametrize("how", ["parametrized", "riemannian"])
def test_a_weight_stays_on_it_and_the_model_can_be_copied(how):
    M = tm.GeneralizedStiefel(_pencil()[1].float())
    layer = torch.nn.Linear(3, 12)
    tm.constrain(layer, "weight", M, how=how)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    if how == "riemannian":
        optimizer = tm.optim.RiemannianAdam(layer, lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        layer(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    assert M.residual(copy.deepcopy(layer).weight.detach()) < 1e-5


@pytest.mark.parametrize(
    ("b", "error", "message"),
    [
        (3.0, TypeError, "b must be a tensor of floating point numbers, got float"),
        (torch.eye(3, dtype=torch.int64), TypeError, "got torch.int64"),
        (torch.ones(3, 2), ValueError, r"b must be one square matrix, got the shape \(3, 2\)"),
        (torch.tensor([[1.0, 2.0], [0.0, 1.0]]), ValueError, "b must be Hermitian"),
        (torch.diag(torch.tensor([1.0, -2.0])), ValueError, "its least eigenvalue is -2"),
    ],
)
def test_a_matrix_that_is_not_definite_is_refused(b, error, message):
    with pytest.raises(error, match=message):
        tm.GeneralizedStiefel(b)


def test_a_point_of_another_size_is_refused():
    with pytest.raises(ValueError, match="b is 12 x 12, so a point has 12 rows"):
        tm.GeneralizedStiefel(_pencil()[1]).random(11, 3)
