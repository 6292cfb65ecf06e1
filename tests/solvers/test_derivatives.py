"""Derivatives of the user's own: their form, and points at which they are hard to judge."""

import pytest
import torch

import torchmanifold as tm

F64 = torch.float64
SPHERE = tm.Sphere()
A = torch.diag(torch.arange(5.0, dtype=F64))
X0 = SPHERE.random(5, dtype=F64, generator=torch.Generator().manual_seed(0))


def fun(x):
    return x @ A @ x


def jac(x):
    return 2 * A @ x


def hessp(x, v):
    return 2 * A @ v


def gradient(x):
    return SPHERE.gradient(x, jac(x))


def hessian(x, v):
    return SPHERE.hessian(x, jac(x), hessp(x, v), v)


REFUSED = [
    (ValueError, "jac: expected the shape of x0, (5,), got (3,)", {"jac": lambda x: jac(x)[:3]}),
    (ValueError, "hessp: expected the shape of x0, (5,), got (1, 5)",
     {"jac": jac, "hessp": lambda x, v: hessp(x, v)[None]}),
    (ValueError, "hessp: expected the dtype of x0, torch.float64, got torch.float32",
     {"jac": jac, "hessp": lambda x, v: hessp(x, v).float()}),
    (TypeError, "jac: expected a tensor, got ndarray", {"jac": lambda x: jac(x).numpy()}),
    (TypeError, "hessp: expected a tensor, got NoneType", {"hessp": lambda x, v: None}),
    (ValueError, "hessp: expected the shape of x0, (5,), got (3,)",
     {"jac": tm.Riemannian(gradient), "hessp": tm.Riemannian(lambda x, v: hessian(x, v)[:3])}),
    (ValueError, "hessp: Riemannian(...) returned a vector at x0 that is not tangent",
     {"jac": tm.Riemannian(gradient), "hessp": tm.Riemannian(hessp)}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "given"), REFUSED)
def test_derivatives_of_another_form_are_refused(error, message, given):
    with pytest.raises(error) as caught:
        tm.minimize(fun, X0, SPHERE, method="trust-region", **given)
    assert message in str(caught.value)


def test_a_value_with_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"jac=True: expected the shape of x0, \(5,\), got \(3,\)"):
        tm.minimize(lambda x: (fun(x), jac(x)[:3]), X0, SPHERE, jac=True)


def test_derivatives_of_named_tensors_are_found_by_their_names():
    """A dict in another order is the same derivative, and one with other keys is refused."""
    p = torch.linspace(-1, 2, 5, dtype=F64)
    x0, M = {"a": X0, "b": X0.flip(0)}, tm.Product(a=SPHERE, b=SPHERE)

    def cost(x):
        return x["a"] @ p - 2 * x["b"] @ p

    result = tm.minimize(cost, x0, M, jac=lambda x: {"b": -2 * p, "a": p})
    assert result.success and result.fun == pytest.approx(-3 * float(p.norm()))
    with pytest.raises(TypeError, match=r"jac: expected a dict with the keys \['a', 'b'\], got"):
        tm.minimize(cost, x0, M, jac=lambda x: {"a": p})


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_riemannian_derivatives_may_begin_at_a_solution(dtype):
    """A gradient that is all rounding is not tangent to its own size."""
    a = torch.randn(9, 9, dtype=dtype, generator=torch.Generator().manual_seed(0))
    a = a + a.mT
    for x0 in torch.linalg.eigh(a).eigenvectors.mT:
        result = tm.minimize(
            lambda x: x @ a @ x,
            x0.clone(),
            SPHERE,
            method="lbfgs",
            jac=tm.Riemannian(lambda x: 2 * (a @ x - (x @ a @ x) * x)),
            tol=1e-4,
        )
        assert result.success and result.nit == 0
