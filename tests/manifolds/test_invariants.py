"""The invariants of every manifold, for each of its metrics and retractions."""

import dataclasses
import math
import pickle

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, PRODUCTS, distinct, entries, every, label
from torch import Tensor

import torchmanifold as tm
from torchmanifold.manifolds.geometry.invariants import INVARIANTS

BOTH = (*CASES, *ALWAYS_COMPLEX)
over_all = pytest.mark.parametrize(("M", "shape"), every(BOTH), ids=label)
over_manifolds = pytest.mark.parametrize(
    ("M", "shape"), [(c.manifold, shape) for c in BOTH for shape in c.shapes], ids=label
)


def point(M: tm.Manifold, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return M.random(*shape, generator=generator, dtype=entries(M, dtype))


def normal(M: tm.Manifold, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=entries(M, dtype))


def constrained(M: tm.Manifold, shape: tuple[int, ...]) -> bool:
    """Whether there are tensors of the shape that are off the manifold."""
    return M.dim(shape) < math.prod(shape) * (2 if M.numbers == "complex" else 1)


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool(((a - b).norm() <= tolerance * (1 + b.norm())).all())


def reach(M: tm.Manifold) -> float:
    """A step length for which the retraction is exact; Newton-Schulz needs short steps."""
    return 0.01 if "NewtonSchulz" in repr(M) else 1.0


@pytest.mark.parametrize(("M", "shape", "reads"), distinct(), ids=label)
def test_every_invariant_holds(M, shape, reads):
    verdict = tm.check_manifold(M, shape, reads=reads)
    assert verdict, str(verdict)
    assert set(verdict.errors) == {name for name, (kind, _) in INVARIANTS.items() if kind in reads}


@pytest.mark.parametrize(("M", "shape", "reads"), distinct(), ids=label)
def test_every_invariant_holds_in_single_precision(M, shape, reads):
    verdict = tm.check_manifold(M, shape, reads=reads, dtype=torch.float32)
    assert verdict, str(verdict)


COMPLEX = [
    row
    for c in (*CASES, *PRODUCTS)
    if c.complex
    for row in distinct()
    if row[:2] == (c.manifold, c.shapes[0])
]


@pytest.mark.parametrize(("M", "shape", "reads"), COMPLEX, ids=label)
def test_every_invariant_holds_of_complex_points(M, shape, reads):
    verdict = tm.check_manifold(M, shape, reads=reads, dtype=torch.complex128)
    assert verdict, str(verdict)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize(("M", "shape"), every(ALWAYS_COMPLEX), ids=label)
def test_every_invariant_holds_where_points_are_always_complex(M, shape, dtype):
    verdict = tm.check_manifold(M, shape, dtype=dtype)
    assert verdict, str(verdict)
    assert M.random(*shape).is_complex()
    assert dtype == torch.complex64 or verdict.errors == tm.check_manifold(M, shape).errors
    with pytest.raises(TypeError, match="points are complex, got torch.float32"):
        M.random(*shape, dtype=torch.float32)


def test_a_broken_manifold_is_found_out():
    """Each row of the sphere, spoilt in turn, makes at least one invariant fail."""
    rule = tm.Sphere().metric_rule
    spoilt = {
        "weingarten": lambda M, x, v, w: 0 * v,
        "exp": lambda M, x, v: M.project(x + v),
        "log": lambda M, x, y: M.tangent(x, y - x),
        "dist": lambda M, x, y: (x - y).norm(dim=-1),
        "gradient": lambda M, x, g: 2 * M.tangent(x, g),
        "inner": lambda M, x, u, v: 2 * (u * v).sum(-1),
        "coordinates": lambda M, x, v: 2 * M.tangent(x, v),
        "parallel_transport": lambda M, x, v, w: M.carry(x, M.exp(x, v), w),
        "injectivity_radius": lambda M, shape: 2 * math.pi,
    }
    for name, row in spoilt.items():

        class Spoilt(tm.Sphere):
            metrics = {tm.EuclideanMetric: dataclasses.replace(rule, **{name: row})}

        assert not tm.check_manifold(Spoilt(), (4,)), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@over_manifolds
def test_the_residual_sees_what_is_off(M, shape, dtype):
    x = point(M, shape, dtype)
    off = x + 0.1 * normal(M, shape, dtype)
    factors = isinstance(M, tm.PositiveSemidefinite)  # almost every matrix is one
    if isinstance(M, tm.SymmetricPositiveDefinite):
        assert M.residual(-x) > 0.5
    elif constrained(M, shape) and not factors:
        assert M.residual(off) > 1e-3
    else:
        assert M.residual(off) == 0


def test_stated_orders_are_not_understated():
    """The slope is the stated order at a generic point of a generic shape, not more."""
    measured = {}
    for metric in tm.Stiefel.metrics:
        for retraction, rule in tm.Stiefel.retractions.items():
            M = tm.Stiefel(metric=metric(), retraction=retraction())
            x = point(M, (7, 3), torch.float64)
            u = M.random_tangent(x)
            gap = [float((M.retract(x, t * u) - M.exp(x, t * u)).norm()) for t in (3e-2, 3e-3)]
            order = 2 if gap[0] < 1e-12 else round(math.log10(gap[0] / gap[1])) - 1
            measured[metric, retraction] = (order, rule.order[metric])
    assert all(found == stated for found, stated in measured.values()), measured


@over_all
def test_what_is_not_offered_raises_and_says_so(M, shape):
    x = point(M, shape, torch.float64)
    calls = {
        "hessian": (x, x, x, x),
        "weingarten": (x, x, x),
        "exp": (x, x),
        "log": (x, x),
        "dist": (x, x),
        "parallel_transport": (x, x, x),
        "injectivity_radius": (shape,),
        "inverse_retract": (x, x),
    }
    for name, arguments in calls.items():
        if not M.offers(name):
            with pytest.raises(NotImplementedError, match=name.split("_")[0]):
                getattr(M, name)(*arguments)


@over_all
def test_no_points_are_a_batch_too(M, shape):
    x = M.random(0, *shape)
    v = torch.zeros_like(x).requires_grad_()
    M.trivialize(x, v).sum().real.backward()
    assert v.grad.shape == M.gradient(x, x).shape == M.project(x).shape == x.shape
    assert M.residual(M.retract(x, M.random_tangent(x))).shape == (0,)


@over_all
def test_nan_stays_nan(M, shape):
    """The NaN stays in its own point of the batch, and no factorization raises."""
    x, z = point(M, (2, *shape), torch.float32), normal(M, (2, *shape), torch.float32)
    spoilt = torch.full_like(x[:1], torch.nan)
    bad = torch.cat([spoilt, x[1:]])
    moved = M.retract(bad, torch.zeros_like(bad))
    for value in (M.project(torch.cat([spoilt, z[1:]])), moved):
        assert value[0].isnan().any() and torch.isfinite(value[1]).all()
    for value in (M.tangent(bad, z), M.gradient(bad, z)):
        assert torch.isfinite(value[1]).all()
    if constrained(M, shape):
        assert M.residual(bad)[0].isnan() and M.residual(bad)[1] <= M.tolerance(shape, x.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@over_manifolds
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_project_takes_any_size(M, shape, dtype, scale):
    x = M.project(scale * normal(M, shape, dtype))
    assert torch.isfinite(x).all() and M.residual(x) <= M.tolerance(shape, dtype)


@pytest.mark.parametrize(("M", "shape"), every(), ids=label)
def test_half_precision_is_computed_in_single(M, shape):
    x = point(M, shape, torch.float32).bfloat16()
    v = (0.1 * M.random_tangent(x.float())).bfloat16()
    y = M.retract(x, v)
    assert y.dtype == torch.bfloat16
    assert close(y.float(), M.retract(x.float(), v.float()), 2**-7)
    # A point in single precision stays in it for any vector.
    assert M.retract(x.float(), v).dtype == torch.float32
    for name in ("log", "dist"):
        if M.offers(name):
            assert getattr(M, name)(x, y).dtype == torch.bfloat16


@over_all
def test_autocast_changes_nothing(M, shape):
    x = point(M, (2, *shape), torch.float32)
    v, calls = 0.1 * M.random_tangent(x), ["retract", "tangent", "gradient", "norm"]
    y = M.retract(x, v)
    calls = dict.fromkeys(calls, (x, v)) | {
        name: (x, y) for name in ("log", "dist") if M.offers(name)
    }
    expected = {name: getattr(M, name)(*arguments) for name, arguments in calls.items()}
    with torch.autocast("cpu", torch.bfloat16):
        for name, arguments in calls.items():
            assert torch.equal(getattr(M, name)(*arguments), expected[name]), name


@over_manifolds
def test_projection_has_a_finite_gradient_at_points_and_near_them(M, shape):
    """Networks that output matrices and project them live exactly there."""
    x, g = point(M, (3, *shape), torch.float64), normal(M, (3, *shape), torch.float64)
    for z in (x, M.project(x + 1e-7 * g), x + 1e-2 * g):
        z = z.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((M.project(z) * g).sum().real, z)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@over_all
def test_one_bad_vector_leaves_its_neighbours_alone(M, shape, bad):
    x = point(M, (2, *shape), torch.float32)
    v = M.random_tangent(x) * (3 if reach(M) == 1 else reach(M))
    spoilt = torch.cat([torch.full_like(v[:1], bad), v[1:]])
    alone = M.retract(x[1:], v[1:])
    assert close(M.retract(x, spoilt)[1:], alone, 1e-4)


@over_all
def test_long_steps_end_on_the_manifold(M, shape):
    """An exact retraction stays on its manifold, or shortens the step, whatever its length."""
    if reach(M) < 1:
        return
    for dtype in (torch.float32, torch.float64):
        x = point(M, (2, *shape), dtype)
        for length in (30.0, 1e3):
            y = M.retract(x, length * M.random_tangent(x))
            assert torch.isfinite(y).all(), length
            assert (M.residual(y) <= 10 * M.tolerance(shape, dtype)).all(), (length, M.residual(y))


@over_manifolds
def test_random_points_and_projections_are_contiguous(M, shape):
    assert M.random(2, *shape).is_contiguous()
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(normal(M, shape, torch.float32))
    tm.constrain(module, "weight", M)
    entry = module.parametrizations.weight
    assert entry.original.is_contiguous() and entry[0].base.is_contiguous()


@over_all
def test_a_manifold_is_a_value(M, shape):
    twin = type(M)(**{f.name: getattr(M, f.name) for f in dataclasses.fields(M)})
    saved = pickle.loads(pickle.dumps(M))
    assert twin == M == saved and hash(M) == hash(twin) == hash(saved)
    if not hasattr(M, "b"):  # a matrix is not written out
        assert eval(repr(M), vars(tm)) == M


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda case: repr(case.manifold))
def test_a_product_is_a_value(case):
    M = case.manifold
    assert hash(M) == hash(eval(repr(M), vars(tm))) and eval(repr(M), vars(tm)) == M


@over_manifolds
def test_same_seed_same_point(M, shape):
    a, b = point(M, shape, torch.float32, 7), point(M, shape, torch.float32, 7)
    assert (torch.equal(a, b) and not torch.equal(a, point(M, shape, torch.float32, 8))) or (
        M.dim(shape) == 0
    )


def test_numbers_that_no_point_has_are_refused():
    with pytest.raises(TypeError, match="points are real, got torch.complex64"):
        tm.SpecialOrthogonal().random(3, 3, dtype=torch.complex64)
    with pytest.raises(TypeError, match="floating point"):
        tm.Sphere().random(3, dtype=torch.int64)
    assert tm.Stiefel().dim((5, 2), dtype=torch.complex64) == 16


def test_a_map_with_the_name_of_a_retraction_is_told_apart():
    with pytest.raises(ValueError, match=r"the map tm.maps.QR\(\); the retraction .* is tm.QR\(\)"):
        tm.Stiefel(retraction=tm.maps.QR())


def test_points_of_different_shapes_do_not_broadcast():
    M = tm.Stiefel()
    with pytest.raises(ValueError, match=r"one shape, apart from batch dimensions"):
        M.tangent(M.random(5, 3), torch.randn(5, 1))


def test_a_product_refuses_what_does_not_fit():
    M = tm.Product(tm.Sphere(), tm.Stiefel())
    with pytest.raises(ValueError, match=r"random|check_shape.*expected a tuple of 2"):
        M.random((3,))
    with pytest.raises(ValueError, match="expected a tuple of 2, got tuple of 1"):
        M.residual((torch.randn(3),))
    with pytest.raises(ValueError, match="either by position or by name"):
        tm.Product()
    with pytest.raises(TypeError, match="a factor must be a manifold"):
        tm.Product(tm.Sphere(), 3)
    with pytest.raises(ValueError, match="is not one tensor"):
        tm.Blocks(M, 2)
    with pytest.raises(TypeError, match="a weight is one tensor"):
        tm.constrain(torch.nn.Linear(3, 4), "weight", M)


def test_a_product_of_bare_parameters_is_placed_factor_by_factor():
    M = tm.Product(rotation=tm.SpecialOrthogonal(), shift=tm.Sphere())
    x = {"rotation": torch.randn(3, 3), "shift": torch.randn(4)}
    tm.place_(x, M)
    assert M.residual(x) < 1e-5
    assert tm.manifold_of(x["shift"]) == tm.Sphere()
    with pytest.raises(ValueError, match="keys rotation, shift"):
        tm.place_({"rotation": x["rotation"]}, M)


@over_manifolds
def test_integers_are_not_projected(M, shape):
    with pytest.raises(TypeError, match="floating point entries, got torch.int64; use float32"):
        M.project(torch.ones(shape, dtype=torch.int64))
