"""The simplex method, on functions without a gradient."""

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, PRODUCTS, entries, label, seen

import torchmanifold as tm
from torchmanifold.manifolds.geometry.structure import mapped

F64 = torch.float64
SMALL = [
    (case.manifold, case.shapes[-1])
    for case in (*CASES, *ALWAYS_COMPLEX, *PRODUCTS)
    if case.manifold.dim(case.shapes[-1], entries(case.manifold, F64)) <= 8
]


@pytest.mark.parametrize(("M", "shape"), SMALL, ids=label)
def test_it_finds_a_kink_on_every_small_manifold(M, shape):
    """The sum of the moduli of `x - target` has no derivative where it is least."""
    generator = torch.Generator().manual_seed(0)
    target = M.random(shape, generator=generator, dtype=entries(M, F64))
    step = mapped(lambda part: 0.3 * part, M.random_tangent(target, generator=generator))

    def fun(x):
        pairs = zip(seen(M, x), seen(M, target), strict=True)
        return sum(float((a - b).abs().sum()) for a, b in pairs)

    result = tm.minimize(fun, M.retract(target, step), M, method="nelder-mead", tol=1e-7)
    assert result.success and result.njev == 0
    assert result.fun < 1e-4
    assert result.residual <= 10 * M.tolerance(shape, F64)


def test_many_problems_are_those_alone():
    a = torch.randn(4, 5, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
    a = a + a.mT
    x0 = tm.Sphere().random(4, 5, dtype=F64, generator=torch.Generator().manual_seed(1))

    def fun(x, a):
        return (x * (a @ x[..., None])[..., 0]).sum(-1)

    given = {"method": "nelder-mead", "tol": 1e-6}
    many = tm.minimize(fun, x0, tm.Sphere(), args=(a,), **given)
    assert many.success.all()
    torch.testing.assert_close(many.fun, torch.linalg.eigvalsh(a)[:, 0], rtol=0, atol=1e-10)
    for i in range(4):
        alone = tm.minimize(fun, x0[i], tm.Sphere(), args=(a[i],), **given)
        assert alone.fun == pytest.approx(float(many.fun[i]), abs=1e-10)


def test_a_saved_run_goes_on_to_the_last_bit():
    fun, x0 = lambda x: float((x - 3).abs().sum()), torch.zeros(3, dtype=F64)
    given = {"method": "nelder-mead"}
    whole = tm.minimize(fun, x0, stop=tm.stop.Iterations(60), **given)
    half = tm.minimize(fun, x0, stop=tm.stop.Iterations(30), **given)
    saved = half.state.state_dict()
    rest = tm.minimize(fun, x0, stop=tm.stop.Iterations(60), state=saved, **given)
    assert torch.equal(rest.x, whole.x) and rest.fun == whole.fun and rest.nit == 60


def test_a_wall_of_nan_is_no_minimum():
    def fun(x):
        return float("nan") if x[0] > 1 else float((x - 2).square().sum())

    result = tm.minimize(fun, torch.zeros(2, dtype=F64), method="nelder-mead")
    assert result.success
    torch.testing.assert_close(result.x, torch.tensor([1.0, 2.0], dtype=F64), atol=1e-3, rtol=0)


def test_too_many_dimensions_are_refused():
    with pytest.raises(ValueError, match="x0 has 2000 numbers, at most 1000 are possible"):
        tm.minimize(lambda x: float(x.sum()), torch.zeros(2000), method="nelder-mead")
