"""What every manifold promises, for each of its metrics and retractions."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from cases import CASES, every, label, variants
from torch import Tensor

import torchmanifold as tm

DTYPES = (torch.float32, torch.float64)
BATCHES = ((), (3,), (2, 3))
over_all = pytest.mark.parametrize(("M", "shape"), every(), ids=label)
in_both = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def point(M: tm.Manifold, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return M.random(*shape, generator=generator, dtype=dtype)


def normal(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rounding(M: tm.Manifold, shape: tuple[int, ...], dtype: torch.dtype) -> float:
    """The tolerance of a comparison: a function of size and dtype alone."""
    return 100 * torch.finfo(dtype).eps * math.sqrt(math.prod(shape))


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool(((a - b).norm() <= tolerance * (1 + b.norm())).all())


def reach(M: tm.Manifold) -> float:
    """A step length at which the retraction is exact: Newton-Schulz is for short steps."""
    inner = getattr(M, "manifold", M)
    return (
        0.01 if isinstance(getattr(inner, "manifold", inner).retraction, tm.NewtonSchulz) else 1.0
    )


def directional(f: Callable[[Tensor], Tensor], x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """`f(x)` and its derivative along `u`, by two reverse passes."""
    return torch.autograd.functional.jvp(f, x, u)


@over_all
@in_both
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_points_lie_on_the_manifold(M, shape, dtype, batch):
    tolerance = M.tolerance(shape, dtype)
    x = point(M, batch + shape, dtype)
    y = M.retract(x, reach(M) * M.random_tangent(x))
    z = M.project(normal(batch + shape, dtype))
    for value in (x, y, z):
        assert value.shape == batch + shape and value.dtype == dtype
        assert M.residual(value).shape == batch
        assert (M.residual(value) <= tolerance).all(), M.residual(value)


@over_all
@in_both
def test_the_residual_sees_what_is_off(M, shape, dtype):
    x = point(M, shape, dtype)
    off = x + 0.1 * normal(shape, dtype)
    constrained = M.dim(shape) < math.prod(shape) and not isinstance(
        M, tm.SymmetricPositiveDefinite
    )
    if constrained:
        assert M.residual(off) > 1e-3
    elif isinstance(M, tm.SymmetricPositiveDefinite):
        assert M.residual(-x) > 0.5
    else:
        assert M.residual(off) == 0


@over_all
@in_both
def test_project_leaves_points_alone(M, shape, dtype):
    x = point(M, (2, *shape), dtype)
    assert close(M.project(x), x, rounding(M, shape, dtype))


@over_all
@in_both
def test_tangent_is_an_orthogonal_projection(M, shape, dtype):
    x = point(M, (2, *shape), dtype)
    z, w = normal(x.shape, dtype, 3), normal(x.shape, dtype, 4)
    u = M.tangent(x, z)
    tolerance = rounding(M, shape, dtype)
    assert close(M.tangent(x, u), u, tolerance)
    assert close(M.sum(u * w), M.sum(z * M.tangent(x, w)), tolerance)


@over_all
def test_the_tangent_space_has_the_stated_dimension(M, shape):
    x = point(M, shape, torch.float64)
    columns = [M.tangent(x, e.reshape(shape)).flatten() for e in torch.eye(x.numel()).double()]
    assert int(torch.linalg.matrix_rank(torch.stack(columns), atol=1e-8)) == M.dim(shape)


@over_all
def test_retraction_starts_at_the_point_with_the_given_velocity(M, shape):
    x = point(M, shape, torch.float64)
    zero = torch.zeros_like(x)
    assert close(M.retract(x, zero), x, 1e-13)
    u = M.random_tangent(x)
    _, velocity = directional(lambda v: M.retract(x, v), zero, u)
    assert close(velocity, u, 1e-12)


@over_all
def test_retraction_agrees_with_the_geodesic_to_the_stated_order(M, shape):
    """`||R(tu) - exp(tu)|| = O(t^(order + 1))`: the slope in a log-log plot."""
    order = M.retraction_rule.order[type(M.metric)]
    x = point(M, shape, torch.float64)
    u = M.random_tangent(x)
    if M.metric_rule.exp is None:
        # No closed form. A retraction of second order leaves with a normal acceleration.
        h = 1e-4
        acceleration = (M.retract(x, h * u) + M.retract(x, -h * u) - 2 * x) / h**2
        assert order == (2 if M.tangent(x, acceleration).norm() < 1e-5 else 1)
        return
    # `+ 0` so that no value is aliased; steps above rounding and below the higher orders.
    steps = torch.logspace(-1.5, -2.5, 6, dtype=torch.float64)
    gaps = torch.stack([(M.retract(x, t * u) - M.exp(x, t * u)).norm() for t in steps])
    if gaps.max() < 1e-11:  # it is the geodesic, or agrees by chance beyond any order
        return
    slope = (gaps[0] / gaps[-1]).log() / (steps[0] / steps[-1]).log()
    assert slope > order + 0.9, (float(slope), order)


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
def test_gradient_represents_the_differential(M, shape):
    """`<gradient, u>_x = d/dt f(R(t u))`, and coordinates satisfy `B B* = g^-1`."""
    x = point(M, shape, torch.float64)
    target = normal(shape, torch.float64, 5)

    def f(y: Tensor) -> Tensor:
        return ((y - target) ** 3).sum()

    egrad = torch.func.grad(f)(x)
    gradient = M.gradient(x, egrad)
    u = M.random_tangent(x)
    _, slope = directional(lambda v: f(M.retract(x, v)), torch.zeros_like(x), u)
    assert close(M.tangent(x, gradient), gradient, 1e-11)
    assert close(M.inner(x, gradient, u), slope, 1e-9)

    zero = torch.zeros_like(x).requires_grad_()
    (coordinates,) = torch.autograd.grad((M.coordinates(x, zero) * egrad).sum(), zero)
    assert close(M.coordinates(x, coordinates), gradient, 1e-9)


@over_all
def test_coordinates_have_a_right_inverse(M, shape):
    x = point(M, (2, *shape), torch.float64)
    u = M.tangent(x, normal(x.shape, torch.float64))
    assert close(M.coordinates(x, M.inverse_coordinates(x, u)), u, 1e-11)


@over_all
def test_trivialize_is_a_retraction_of_coordinates(M, shape):
    x = point(M, (2, *shape), torch.float64)
    v = 0.3 * normal(x.shape, torch.float64)
    expected = M.retract(x, M.coordinates(x, v))
    assert close(M.trivialize(x, v), expected, 1e-12)


@over_all
def test_inner_is_an_inner_product_and_random_tangents_have_norm_one(M, shape):
    x = point(M, (3, *shape), torch.float64)
    u, v = M.random_tangent(x), M.random_tangent(x)
    assert close(M.tangent(x, u), u, 1e-12)
    assert close(M.inner(x, u, v), M.inner(x, v, u), 1e-12)
    assert close(M.inner(x, u + 2 * v, v), M.inner(x, u, v) + 2 * M.inner(x, v, v), 1e-12)
    if M.dim(shape):
        assert close(M.norm(x, u), torch.ones(3, dtype=torch.float64), 1e-12)


@over_all
def test_log_inverts_exp_and_dist_is_its_norm(M, shape):
    x = point(M, (2, *shape), torch.float64)
    u = 0.3 * M.random_tangent(x)
    rule = M.metric_rule
    for name in ("exp", "log", "dist"):
        if getattr(rule, name) is None and not (name == "dist" and rule.log):
            with pytest.raises(NotImplementedError, match=name):
                getattr(M, name)(x, x)
    if rule.exp and rule.log:
        y = M.exp(x, u)
        assert close(M.log(x, y), u, 1e-10)
        assert close(M.dist(x, y), M.norm(x, u), 1e-10)
        assert close(M.dist(x, y), M.dist(y, x), 1e-10)


@over_all
def test_the_norm_has_a_derivative_at_zero(M, shape):
    x = point(M, shape, torch.float64)
    u = torch.zeros_like(x).requires_grad_()
    (gradient,) = torch.autograd.grad(M.norm(x, u), u)
    assert (gradient == 0).all()
    assert M.norm(x, torch.full_like(x, torch.nan)).isnan()


@over_all
def test_inverse_retraction(M, shape):
    x = point(M, (2, *shape), torch.float64)
    u = 0.3 * M.random_tangent(x)
    if M.retraction_rule.inverse is None:
        with pytest.raises(NotImplementedError, match="inverse"):
            M.inverse_retract(x, x)
    else:
        assert close(M.inverse_retract(x, M.retract(x, u)), u, 1e-10)


@over_all
def test_transport_is_tangent_and_linear(M, shape):
    x = point(M, (2, *shape), torch.float64)
    v, a, b = (M.random_tangent(x) for _ in range(3))
    v = reach(M) * v
    moved = M.transport(x, v, a + 2 * b)
    assert close(moved, M.transport(x, v, a) + 2 * M.transport(x, v, b), 1e-12)
    assert close(M.tangent(M.retract(x, v), moved), moved, 1e-12)
    assert close(M.carry(x, x, a), a, 1e-10)
    if isinstance(M.metric, tm.AffineInvariant | tm.LogEuclidean):
        assert close(M.norm(M.retract(x, v), M.transport(x, v, a)), M.norm(x, a), 1e-10)


@over_all
@pytest.mark.parametrize("at", ["base", "generic", "rank one"])
def test_retraction_has_two_derivatives(M, shape, at):
    x = point(M, shape, torch.float64)
    if at == "base":
        v = torch.zeros_like(x)
    elif at == "generic":
        v = normal(shape, torch.float64)
    else:
        v = torch.zeros_like(x)
        v[..., :1] = normal(v[..., :1].shape, torch.float64)
    v.requires_grad_()

    def moved(v: Tensor) -> Tensor:
        return M.trivialize(x, v)

    assert torch.autograd.gradcheck(moved, (v,))
    assert torch.autograd.gradgradcheck(moved, (v,), atol=1e-4)


@over_all
def test_a_batch_is_its_points(M, shape):
    x = point(M, (2, *shape), torch.float64)
    v, g = M.random_tangent(x), normal(x.shape, torch.float64)
    for name, other in (("retract", v), ("gradient", g), ("tangent", g), ("coordinates", g)):
        method = getattr(M, name)
        looped = torch.stack([method(a, b) for a, b in zip(x, other, strict=True)])
        assert close(method(x, other), looped, 1e-12), name


@over_all
def test_hessian_is_the_second_derivative_along_geodesics(M, shape):
    x = point(M, shape, torch.float64)
    u = M.random_tangent(x)
    a = normal(shape, torch.float64, 5)

    def f(y: Tensor) -> Tensor:
        return ((y - a) ** 3).sum()

    egrad = torch.func.grad(f)(x)
    _, ehess = directional(torch.func.grad(f), x, u)
    if M.metric_rule.hessian is None:
        with pytest.raises(NotImplementedError, match="hessian"):
            M.hessian(x, egrad, ehess, u)
        return
    hess = M.hessian(x, egrad, ehess, u)
    assert close(M.tangent(x, hess), hess, 1e-10)
    w = M.random_tangent(x)
    other = M.hessian(x, egrad, directional(torch.func.grad(f), x, w)[1], w)
    assert close(M.inner(x, hess, w), M.inner(x, u, other), 1e-9)  # self-adjoint
    if M.retraction_rule.order[type(M.metric)] == 2:

        def along(v: Tensor) -> Tensor:
            return f(M.retract(x, v))

        zero = torch.zeros_like(x)
        second = torch.autograd.functional.vhp(along, zero, u)[1]
        assert close(M.inner(x, hess, u), (second * u).sum(), 1e-8)


COMPLEX = [(M, c.shapes[0]) for c in CASES if c.complex for M in variants(c.manifold)]


@pytest.mark.parametrize(("M", "shape"), COMPLEX, ids=label)
def test_complex_points(M, shape):
    x = point(M, (2, *shape), torch.complex128)
    u = M.random_tangent(x)
    y = M.retract(x, reach(M) * u)
    z = normal(x.shape, torch.complex128)
    assert close(M.tangent(x, M.tangent(x, z)), M.tangent(x, z), 1e-12)
    assert close(M.coordinates(x, M.inverse_coordinates(x, u)), u, 1e-11)
    assert (M.residual(M.project(z)) <= M.tolerance(shape, torch.float64)).all()
    assert x.is_complex() and not M.norm(x, u).is_complex()
    assert (M.residual(y) <= M.tolerance(shape, torch.float64)).all()
    assert close(M.retract(x, 1e-5 * u), x + 1e-5 * u, 1e-9)


@over_all
def test_no_points_are_a_batch_too(M, shape):
    x = M.random(0, *shape)
    v = torch.zeros_like(x).requires_grad_()
    M.trivialize(x, v).sum().backward()
    assert v.grad.shape == M.gradient(x, x).shape == M.project(x).shape == x.shape
    assert M.residual(M.retract(x, M.random_tangent(x))).shape == (0,)


@over_all
def test_nan_stays_nan(M, shape):
    """In its own point of the batch, and without an error of a factorization."""
    x, z = point(M, (2, *shape), torch.float32), normal((2, *shape), torch.float32)
    spoilt = torch.full_like(x[:1], torch.nan)
    bad = torch.cat([spoilt, x[1:]])
    moved = M.retract(bad, torch.zeros_like(bad))
    for value in (M.project(torch.cat([spoilt, z[1:]])), moved):
        assert value[0].isnan().any() and torch.isfinite(value[1]).all()
    for value in (M.tangent(bad, z), M.gradient(bad, z)):
        assert torch.isfinite(value[1]).all()
    if M.dim(shape) < math.prod(shape):
        assert M.residual(bad)[0].isnan() and M.residual(bad)[1] <= M.tolerance(shape, x.dtype)


@over_all
@in_both
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_project_takes_any_size(M, shape, dtype, scale):
    x = M.project(scale * normal(shape, dtype))
    assert torch.isfinite(x).all() and M.residual(x) <= M.tolerance(shape, dtype)


@over_all
def test_half_precision_is_computed_in_single(M, shape):
    x = point(M, shape, torch.float32).bfloat16()
    v = (0.1 * M.random_tangent(x.float())).bfloat16()
    y = M.retract(x, v)
    assert y.dtype == torch.bfloat16
    assert close(y.float(), M.retract(x.float(), v.float()), 2**-7)


@over_all
def test_a_manifold_is_a_value(M, shape):
    twin = type(M)(**{f.name: getattr(M, f.name) for f in dataclasses.fields(M)})
    assert M == twin and hash(M) == hash(twin) and eval(repr(M), vars(tm)) == M


@over_all
def test_same_seed_same_point(M, shape):
    a, b = point(M, shape, torch.float32, 7), point(M, shape, torch.float32, 7)
    assert (
        torch.equal(a, b)
        and not torch.equal(a, point(M, shape, torch.float32, 8))
        or (M.dim(shape) == 0)
    )
