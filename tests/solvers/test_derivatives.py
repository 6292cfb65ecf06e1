"""Derivatives of the user's own: their form, and points at which they are hard to judge."""

from dataclasses import fields

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, PRODUCTS, entries, seen, variants

import torchmanifold as tm
from torchmanifold.optim.solvers.doubt import doubt
from torchmanifold.optim.solvers.first_point import first_point
from torchmanifold.optim.solvers.loop import first_state
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.setup import objective_of

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


@pytest.mark.parametrize("method", ["trust-region", "arc"])
def test_a_run_that_ends_because_of_a_wrong_hessian_says_so(method):
    a = torch.randn(8, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    a = a + a.mT
    x0 = tm.Stiefel().random(8, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    given = {"method": method, "stop": tm.stop.Iterations(50), "jac": lambda x: -a @ x}

    def cost(x):
        return -(x * (a @ x)).sum() / 2

    wrong = tm.minimize(cost, x0, tm.Grassmann(), hessp=lambda x, v: -10 * a @ v, **given)
    assert not wrong.success and "tm.check_hessian" in wrong.message
    right = tm.minimize(cost, x0, tm.Grassmann(), hessp=lambda x, v: -a @ v, **given)
    assert right.success and "check" not in right.message


class Wrong(Objective):
    """Its Hessian-vector products are too large by a half."""

    def product(self, point, c):
        return 1.5 * super().product(point, c)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_derivatives_of_no_manifold_raise_a_doubt(dtype):
    """Nor does a Hessian that is too large stay without one, where a difference can tell."""
    told = 0
    method = tm.optim.solvers.TrustRegion()
    for case in (*CASES, *ALWAYS_COMPLEX, *PRODUCTS):
        for M in [case.manifold] if case in PRODUCTS else variants(case.manifold):
            g = torch.Generator().manual_seed(0)
            x0, target = (
                M.random(case.shapes[0], generator=g, dtype=entries(M, dtype)) for _ in range(2)
            )
            wanted = seen(M, target)

            def cost(x, M=M, wanted=wanted):
                pairs = zip(seen(M, x), wanted, strict=True)
                return sum((a - b).abs().square().sum() for a, b in pairs) / 2

            right, x, value = objective_of(cost, x0, M, (), None, None, 2)
            wrong = Wrong(**{f.name: getattr(right, f.name) for f in fields(right)})
            state = first_state(method, right, first_point(right, x, value))
            assert doubt(right, state, torch.tensor([True])) == "", M
            told += "check_hessian" in doubt(wrong, state, torch.tensor([True]))
    assert told > (80 if dtype == F64 else 40)
