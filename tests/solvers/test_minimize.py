"""minimize: every method reaches known solutions on every manifold, and states why it stopped."""

import math

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, PRODUCTS, entries, label, seen, variants

import torchmanifold as tm
from torchmanifold.manifolds.geometry.structure import mapped
from torchmanifold.optim.solvers.minimize import METHODS as ALL_METHODS

F64 = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


#: methods with gradients
METHODS = [name for name, method in ALL_METHODS.items() if method.order > 0]


def squared_distance(M, target):
    """The Frobenius distance to a point, whose only stationary point nearby is that point."""

    def fun(x):
        pairs = zip(seen(M, x), seen(M, target), strict=True)
        return sum((a - b).abs().square().sum() for a, b in pairs) / 2

    return fun


def one_per_metric():
    for case in (*CASES, *ALWAYS_COMPLEX, *PRODUCTS):
        found = {}
        for M in [case.manifold] if case in PRODUCTS else variants(case.manifold):
            if not isinstance(getattr(M, "retraction", None), tm.NewtonSchulz):
                found.setdefault(M.metric, (M, case.shapes[0]))
        yield from found.values()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("M", "shape"), list(one_per_metric()), ids=label)
def test_every_method_finds_the_nearest_point(M, shape, method):
    x0 = M.random(shape, generator=seeded(), dtype=entries(M, F64))
    v = M.random_tangent(x0, generator=seeded(1))
    target = M.retract(x0, mapped(lambda part: 0.3 * part, v))
    fun = squared_distance(M, target)
    result = tm.minimize(fun, x0, M, method=method, tol=1e-9)
    assert result.success, result
    assert result.gradient_norm <= 1e-9
    assert result.fun < 1e-16
    assert result.residual <= M.tolerance(shape, F64)
    assert result.history["fun"][0] == pytest.approx(fun(x0).item())


def subspace(n=20, p=3, dtype=F64):
    """The dominant subspace: cost, its manifold, an initial point, and the least value."""
    a = torch.randn(n, n, generator=seeded(), dtype=F64)
    a = a + a.mT
    x0 = tm.Grassmann().random(n, p, generator=seeded(1), dtype=dtype)
    least = -float(torch.linalg.eigvalsh(a)[-p:].sum()) / 2
    a = a.to(dtype)
    return (lambda x: -(x * (a @ x)).sum() / 2), tm.Grassmann(), x0, least


@pytest.mark.parametrize("method", METHODS)
def test_a_non_convex_problem_is_solved_to_rounding(method):
    fun, M, x0, least = subspace()
    result = tm.minimize(fun, x0, M, method=method, tol=1e-6)
    assert result.success and abs(result.fun - least) < 1e-11 * abs(least)


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_stops_at_its_rounding(method):
    fun, M, x0, least = subspace(dtype=torch.float32)
    result = tm.minimize(fun, x0, M, method=method, tol=1e-12)
    assert result.nit < 500 and "rounding" in result.message
    assert abs(result.fun - least) < 1e-5 * abs(least)


def test_trust_regions_converge_superlinearly():
    fun, M, x0, _ = subspace()
    norms = tm.minimize(fun, x0, M, method="trust-region", tol=1e-9).history["gradient_norm"]
    last = norms[norms < 1e-1]
    orders = last[1:].log() / last[:-1].log()
    assert len(last) >= 2 and orders.max() > 1.7


@pytest.mark.parametrize("method", ["trust-region", "lbfgs", "cg", "gradient-descent"])
def test_values_fall_where_that_is_promised(method):
    fun, M, x0, least = subspace()
    values = tm.minimize(fun, x0, M, method=method).history["fun"]
    assert values.diff().max() <= 1e-13 * abs(least)


@pytest.mark.parametrize("method", METHODS)
def test_many_problems_are_solved_as_if_each_were_alone(method):
    a = torch.randn(5, 6, 6, generator=seeded(), dtype=F64)
    a = a + a.mT
    x0 = tm.Sphere().random(5, 6, generator=seeded(1), dtype=F64)

    def fun(x, a):
        return (x * (a @ x[..., None])[..., 0]).sum(-1)

    many = tm.minimize(fun, x0, tm.Sphere(), args=(a,), method=method, tol=1e-8)
    assert many.fun.shape == many.nit.shape == many.success.shape == (5,) and many.success.all()
    assert torch.allclose(many.fun, torch.linalg.eigvalsh(a)[:, 0])
    for i in range(5):
        alone = tm.minimize(fun, x0[i], tm.Sphere(), args=(a[i],), method=method, tol=1e-8)
        assert alone.fun == pytest.approx(float(many.fun[i]), abs=1e-12)
        assert abs(alone.nit - int(many.nit[i])) <= 3 + 0.1 * alone.nit


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_run_goes_on_to_the_last_bit(method, tmp_path):
    fun, M, x0, _ = subspace()
    limit = {"method": method, "tol": 1e-9}
    whole = tm.minimize(fun, x0, M, stop=tm.stop.Iterations(6), **limit)
    half = tm.minimize(fun, x0, M, stop=tm.stop.Iterations(3), **limit)
    torch.save(half.state.state_dict(), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt")
    rest = tm.minimize(fun, x0, M, stop=tm.stop.Iterations(6), state=saved, **limit)
    assert torch.equal(rest.x, whole.x) and rest.fun == whole.fun and rest.nit == whole.nit == 6
    with pytest.raises(ValueError, match="it was saved by"):
        tm.minimize(fun, x0, M, method="cg" if method != "cg" else "lbfgs", state=saved)


def test_derivatives_of_the_user_are_used():
    a = torch.diag(torch.arange(8.0, dtype=F64))
    x0 = tm.Sphere().random(8, generator=seeded(), dtype=F64)
    fun, jac, hessp = (lambda x: x @ a @ x), (lambda x: 2 * a @ x), (lambda x, v: 2 * a @ v)
    for given, told in (
        ({"jac": jac, "hessp": hessp}, "jac, products by hessp"),
        ({"jac": jac, "hessp": "differences"}, "jac, products by differences of gradients"),
        ({}, "autograd, products by autograd"),
    ):
        result = tm.minimize(fun, x0, tm.Sphere(), method="trust-region", **given)
        assert result.success and abs(result.fun) < 1e-10 and result.derivatives == told
    both = tm.minimize(lambda x: (fun(x), jac(x)), x0, tm.Sphere(), jac=True)
    assert both.success and isinstance(both.method, tm.optim.solvers.LBFGS)


@pytest.mark.parametrize("method", METHODS)
def test_a_number_is_a_point(method):
    x0 = torch.tensor(3.0, dtype=F64)
    result = tm.minimize(lambda x: (x - 2) ** 2 + x**4, x0, method=method, tol=1e-8)
    assert result.success and result.x.shape == () and abs(result.x - 0.8351223484) < 1e-8


def test_complex_points():
    a = torch.randn(6, 6, generator=seeded(), dtype=torch.complex128)
    a = a + a.mH
    x0 = tm.Sphere().random(6, generator=seeded(), dtype=torch.complex128)
    for method in METHODS:
        result = tm.minimize(
            lambda x: (x.conj() @ a @ x).real, x0, tm.Sphere(), method=method, tol=1e-8
        )
        assert result.success and result.fun == pytest.approx(float(torch.linalg.eigvalsh(a)[0]))


def test_what_stops_it_is_said():
    fun, M, x0, _ = subspace()
    stop = tm.stop
    cases = {
        "3 iterations": {"stop": stop.Iterations(3)},
        "5 evaluations": {"stop": stop.Evaluations(5)},
        "the callback stopped it": {"callback": lambda info: info.nit >= 2},
        "the gradient norm is at most 0.01 of the first one": {
            "stop": stop.GradientNorm(relative=1e-2)
        },
        "2 iterations and the value is at most 0": {"stop": stop.Iterations(2) & stop.Value(0.0)},
    }
    for told, given in cases.items():
        result = tm.minimize(fun, x0, M, method="lbfgs", **given)
        assert result.message == told
        assert result.success == ("gradient" in told or "value" in told)
    with pytest.raises(tm.optim.solvers.SolverError, match="not solved: 3 iterations"):
        tm.minimize(fun, x0, M, stop=stop.Iterations(3)).raise_if_failed()


def test_a_wrong_derivative_is_named():
    fun, M, x0, _ = subspace()
    result = tm.minimize(fun, x0, M, method="lbfgs", jac=lambda x: -torch.func.grad(fun)(x))
    assert not result.success and "tm.check_gradient" in result.message


def test_a_step_out_of_the_domain_is_shortened():
    """The cost is infinite or NaN far away; the solver returns from such points."""
    x0 = torch.tensor([3.0], dtype=F64)
    for method in METHODS:
        result = tm.minimize(lambda x: (x - torch.log(x - 1)).sum(), x0, method=method, tol=1e-8)
        assert result.success and result.x.item() == pytest.approx(2.0)


def test_bad_input_is_refused_by_name():
    M, x0 = tm.Stiefel(), tm.Stiefel().random(5, 2, dtype=F64)

    def fun(x):
        return x.sum()

    nan = x0.clone()
    nan[0, 0] = math.nan

    def solve(fun=fun, x0=x0, manifold=M, **given):
        return lambda: tm.minimize(fun, x0, manifold, **given)

    for error, match, call in (
        (ValueError, "x0 is not on Stiefel", solve(x0=2 * x0)),
        (ValueError, "1 of 10 entries are NaN", solve(x0=nan)),
        (TypeError, "torch.int64; use x0.double", solve(x0=x0.long())),
        (ValueError, r"shape \(2,\), which must be", solve(lambda x: x.sum(0))),
        (ValueError, "no gradient reaches x0", solve(lambda x: x.detach().sum())),
        (ValueError, "value at x0 is not finite", solve(lambda x: x.sum() / 0)),
        (ValueError, "got 'newton'", solve(method="newton")),
        (ValueError, "LBFGS has memory, got step", solve(method="lbfgs", options={"step": 1})),
        (ValueError, "tol must be a positive number, got 0", solve(tol=0)),
        (TypeError, "stop: expected a criterion", solve(stop=5)),
        (ValueError, "x0 is one tensor", solve(manifold=tm.Product(M, M))),
        (ValueError, "at least as many rows", solve(x0=x0.mT)),
        (TypeError, "expected a function, got 3", solve(3)),
    ):
        with pytest.raises(error, match=match):
            call()


def test_the_result_reads_as_a_table_and_for_pandas():
    fun, M, x0, _ = subspace()
    result = tm.minimize(fun, x0, M)
    lines = str(result).splitlines()
    assert lines[0].split(":")[0].strip() == "message" and len({ln.index(":") for ln in lines}) == 1
    columns = {name: column.tolist() for name, column in result.history.items()}
    assert len(columns["fun"]) == len(columns["gradient_norm"]) == result.nit + 1


@pytest.mark.parametrize("metric", [tm.EuclideanMetric(), tm.Canonical()], ids=repr)
@pytest.mark.parametrize("method", ["trust-region", "arc", "lbfgs"])
def test_riemannian_derivatives_take_the_same_steps_as_euclidean_ones(method, metric):
    fun, _, x0, _ = subspace()
    M = tm.Stiefel(metric=metric)
    egrad = torch.func.grad(fun)

    def ehess(x, v):
        return torch.func.jvp(egrad, (x,), (v,))[1]

    def jac(x):
        return M.gradient(x, egrad(x))

    def hessp(x, v):
        return M.hessian(x, egrad(x), ehess(x, v), v)

    given = {"method": method, "tol": 1e-8, "stop": tm.stop.Iterations(200)}
    plain = tm.minimize(fun, x0, M, jac=egrad, hessp=ehess, **given)
    own = tm.minimize(fun, x0, M, jac=tm.Riemannian(jac), hessp=tm.Riemannian(hessp), **given)
    mixed = tm.minimize(fun, x0, M, jac=egrad, hessp=tm.Riemannian(hessp), **given)
    for found in (own, mixed):
        assert found.success and found.fun == pytest.approx(plain.fun, rel=1e-12)
        assert abs(found.nit - plain.nit) <= 1
    rough = tm.minimize(fun, x0, M, jac=tm.Riemannian(jac), hessp="differences", **given)
    assert rough.fun == pytest.approx(plain.fun, rel=1e-10)


def test_riemannian_derivatives_that_are_none_are_refused():
    fun, M, x0, _ = subspace()
    egrad = torch.func.grad(fun)
    with pytest.raises(ValueError, match="returned a vector at x0 that is not tangent"):
        tm.minimize(fun, x0, M, jac=tm.Riemannian(egrad), method="lbfgs")
    with pytest.raises(ValueError, match="hessp: a Riemannian jac goes with"):
        tm.minimize(
            fun, x0, M, jac=tm.Riemannian(egrad), hessp=lambda x, v: v, method="trust-region"
        )
    with pytest.raises(TypeError, match="Riemannian: expected a function, got 3"):
        tm.Riemannian(3)


@pytest.mark.parametrize("method", ["trust-region", "arc", "lbfgs", "cg"])
def test_a_run_that_ends_because_of_a_wrong_derivative_says_so(method):
    fun, M, x0, _ = subspace()
    given = {"method": method, "stop": tm.stop.Iterations(60)}
    wrong = tm.minimize(fun, x0, M, jac=lambda x: -torch.func.grad(fun)(x), **given)
    assert not wrong.success and "check_gradient" in wrong.message
    short = tm.minimize(fun, x0, M, method=method, stop=tm.stop.Iterations(2))
    assert "check_gradient" not in short.message
