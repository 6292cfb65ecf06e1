"""First and second derivatives against differences, at generic and at degenerate points."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import skew, sym


def _random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _orthonormal(n: int, p: int, dtype: torch.dtype = torch.float64, seed: int = 2) -> Tensor:
    return torch.linalg.qr(_random(n, p, dtype=dtype, seed=seed)).Q


def _with_spectrum(values: list[float]) -> Tensor:
    q = _orthonormal(len(values), len(values))
    return sym(q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ q.mT)


def _with_singular_values(n: int, values: list[float]) -> Tensor:
    p = len(values)
    s = torch.diag(torch.tensor(values, dtype=torch.float64))
    return _orthonormal(n, p) @ s @ _orthonormal(p, p, seed=3).mT


SQUARE = {
    "zero": torch.zeros(4, 4, dtype=torch.float64),
    "identity": torch.eye(4, dtype=torch.float64),
    "small": 1e-3 * _random(4, 4),
    "generic": _random(4, 4),
    "large": 4 * _random(4, 4),
    "rank one": _random(4, 1) @ _random(1, 4, seed=5),
    "batch": _random(2, 1, 3, 3),
    "one by one": _random(1, 1),
}
SYMMETRIC = {
    "zero": torch.zeros(4, 4, dtype=torch.float64),
    "generic": _with_spectrum([-1.0, 0.3, 0.9, 2.0]),
    "repeated": _with_spectrum([1.0, 1.0, 1.0, 3.0]),
    "clustered": _with_spectrum([1.0, 1.0 + 1e-9, 1.0 + 1e-5, 1.0 + 1e-3]),
    "batch": _random(2, 3, 3),
}
POSITIVE = {
    "identity": torch.eye(4, dtype=torch.float64),
    "generic": _with_spectrum([0.2, 0.5, 0.9, 2.0]),
    "repeated": _with_spectrum([0.5, 0.5, 2.0, 2.0]),
    "clustered": _with_spectrum([1.0, 1.0 + 1e-9, 1.0 + 1e-5, 1.0 + 1e-3]),
}
TALL = {
    "orthonormal": _orthonormal(5, 3),
    "repeated": 2 * _orthonormal(5, 3),
    "generic": _random(5, 3),
    "clustered": _with_singular_values(5, [1.0, 1.0 + 1e-9, 1.0 + 1e-5]),
    "square": _random(3, 3),
    "reflection": torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)),
    "column": _random(4, 1),
    "batch": _random(2, 4, 2),
}


def _check(function: Callable[..., Tensor], *arguments: Tensor, second: bool = True) -> None:
    inputs = tuple(x.clone().requires_grad_() for x in arguments)
    assert gradcheck(function, inputs)
    if second:
        assert gradgradcheck(function, inputs)


def _cases(points: dict[str, Tensor], **functions: Callable[..., Tensor]) -> list[object]:
    return [
        pytest.param(function, point, id=f"{name}-{where}")
        for name, function in functions.items()
        for where, point in points.items()
    ]


@pytest.mark.parametrize(
    ("function", "point"),
    _cases(
        SQUARE,
        expm=maps.expm,
        expm1=maps.expm1,
        expm_skew=lambda z: maps.expm_skew(skew(z)),
        cayley=lambda z: maps.cayley(skew(z)),
    ),
)
def test_square(function: Callable[..., Tensor], point: Tensor) -> None:
    _check(function, point)


@pytest.mark.parametrize("size", [1e-4, 1e-2, 1.0, 20.0])  # degrees 4, 8 and 18; squarings
@pytest.mark.parametrize("skewed", [False, True])
def test_exponential_of_a_batch_takes_no_memory_but_its_own(skewed: bool, size: float) -> None:
    function = maps.expm_skew if skewed else maps.expm
    points, grads = size * _random(3, 4, 4), _random(3, 4, 4, seed=2)
    points = (skew(points) if skewed else points).requires_grad_()
    before = points.detach().clone(), grads.clone()
    value = function(points)
    first, again = (torch.autograd.grad(value, points, grads, retain_graph=True) for _ in "12")
    assert torch.equal(*first, *again)
    assert torch.equal(points, before[0]) and torch.equal(grads, before[1])
    for point, grad, got in zip(points.detach(), grads, *first, strict=True):
        (single,) = torch.autograd.grad(function(point.requires_grad_()), point, grad)
        torch.testing.assert_close(got, single)


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (2, 4, 2)], ids=str)
def test_projected_step(shape: tuple[int, ...]) -> None:
    x = torch.linalg.qr(_random(*shape)).Q
    generic = _random(*shape, seed=7)
    rank_one = _random(*shape[:-1], 1) @ _random(*shape[:-2], 1, shape[-1], seed=8)
    for z in (0 * generic, 1e-9 * generic, 0.1 * generic, 3 * generic, rank_one, x + 0):
        _check(maps.projected_qr_step, x, z)
        _check(lambda z: maps.projected_qr_step(x, z), z)


@pytest.mark.parametrize("step", [maps.cayley_step, maps.exp_step])
@pytest.mark.parametrize("point", SQUARE.values(), ids=SQUARE.keys())
def test_rotation_steps(step: Callable[..., Tensor], point: Tensor) -> None:
    x = _orthonormal(point.shape[-1], point.shape[-1])
    _check(step, x.expand_as(point), point)
    _check(step, x, point)  # one point, perhaps many steps
    _check(step, x.expand(2, 1, *x.shape), point.flatten(0, -3)[0] if point.ndim > 2 else point)
    _check(lambda z: step(x, z), point)


@pytest.mark.parametrize(
    ("function", "point"),
    _cases(
        SYMMETRIC,
        spd_exp=maps.spd_exp,
        spectral=lambda s: maps.spectral(s, torch.sin, torch.cos),
        softplus=maps.Softplus(),
        square=maps.Square(),
        cholesky=maps.Cholesky(),
        positive_determinant=maps.PositiveDeterminant(),
        unit_determinant=maps.UnitDeterminant(),
        hurwitz=maps.Hurwitz(0.1),
    ),
)
def test_symmetric(function: Callable[..., Tensor], point: Tensor) -> None:
    _check(function, point)


@pytest.mark.parametrize(
    ("function", "point"),
    _cases(POSITIVE, spd_log=maps.spd_log, spd_sqrt=maps.spd_sqrt, spd_inv_sqrt=maps.spd_inv_sqrt),
)
def test_positive(function: Callable[..., Tensor], point: Tensor) -> None:
    _check(function, point)


@pytest.mark.parametrize("point", POSITIVE.values(), ids=POSITIVE.keys())
def test_in_two_arguments(point: Tensor) -> None:
    other = _random(4, 4)
    _check(maps.solve_lyapunov, point, other)
    _check(maps.d_exp, point, other, second=False)
    _check(maps.d_log, point, other, second=False)
    # Two derivatives in the direction; a third derivative of the function itself is refused.
    _check(lambda e: maps.d_exp(point, e), other)
    _check(lambda e: maps.spd_exp(maps.spd_log(point) + maps.d_log(point, e)), other)
    s = point.clone().requires_grad_()
    (first,) = torch.autograd.grad(maps.d_exp(s, other).sum(), s, create_graph=True)
    with pytest.raises(NotImplementedError, match="two derivatives here, not three"):
        first.sum().backward()


@pytest.mark.parametrize(
    ("function", "point"),
    _cases(TALL, polar=maps.polar, qr=maps.qr, householder=maps.householder),
)
def test_tall(function: Callable[..., Tensor], point: Tensor) -> None:
    _check(function, point)


@pytest.mark.parametrize("point", TALL.values(), ids=TALL.keys())
def test_newton_schulz(point: Tensor) -> None:
    _check(lambda z: maps.newton_schulz(z, 2), point / 2)


@pytest.mark.parametrize("step", [maps.polar_step, maps.qr_step, maps.cayley_thin, maps.exp_thin])
@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (2, 4, 2)], ids=str)
def test_steps(step: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    x = torch.linalg.qr(_random(*shape)).Q

    def tangent(z: Tensor) -> Tensor:
        return z - x @ sym(x.mT @ z)

    generic = _random(*shape, seed=7)
    rank_one = _random(*shape[:-1], 1) @ _random(*shape[:-2], 1, shape[-1], seed=8)
    inside = x @ skew(_random(*shape[:-2], shape[-1], shape[-1]))
    for v in (0 * generic, 0.1 * generic, 3 * generic, rank_one, inside):
        _check(lambda v: step(x, tangent(v)), v)
    # At v = 0 the derivative is the identity on the tangent space.
    v = tangent(generic)
    along = torch.autograd.functional.jvp(lambda v: step(x, v), 0 * v, v, strict=False)[1]
    torch.testing.assert_close(along, v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("step", [maps.polar_step, maps.qr_step, maps.cayley_thin, maps.exp_thin])
@pytest.mark.parametrize("size", [0.0, 0.1, 3.0])
def test_steps_in_the_point(step: Callable[..., Tensor], size: float) -> None:
    """The base may have a gradient too; the polar factor keeps differences on the manifold."""

    def moved(z: Tensor, w: Tensor) -> Tensor:
        x = maps.polar(z)
        return step(x, size * (w - x @ sym(x.mT @ w)))

    _check(moved, _orthonormal(5, 3), _random(5, 3))


def test_cayley_step_in_the_point() -> None:
    for z in (torch.zeros(4, 4, dtype=torch.float64), 0.1 * _random(4, 4), 3 * _random(4, 4)):
        _check(maps.cayley_step, _orthonormal(4, 4), z)


@pytest.mark.parametrize(
    ("function", "point"),
    [
        (lambda z: maps.inverse_cayley(maps.cayley(skew(z))), _random(4, 4)),
        (lambda z: maps.inverse_cayley(maps.cayley(skew(z))), torch.zeros(4, 4).double()),
        (maps.UnitNorm(), _random(2, 4)),
        (maps.UnitNorm((0, 1)), _random(2, 4)),
        (maps.Positive(), 20 * _random(2, 4)),
        (maps.Square(), _random(4, 2)),
        (maps.Square(), torch.zeros(4, 2).double()),
    ],
    ids=["inverse cayley", "at zero", "norm", "all", "positive", "square", "square at zero"],
)
def test_others(function: Callable[..., Tensor], point: Tensor) -> None:
    _check(function, point)


@pytest.mark.parametrize(
    "z",
    [
        _with_singular_values(5, [2.0, 2.0, 1.0]),
        _with_singular_values(5, [2.0, 1.0, 1.0]),
        _with_singular_values(5, [2.0, 2.0, 0.0]),
        _with_singular_values(3, [3.0, 2.0, 1.0]),
        _with_singular_values(5, [2.0, 2.0, 1.0]).mT.contiguous(),
    ],
    ids=["repeated kept", "repeated dropped", "low rank", "square", "wide"],
)
def test_truncate(z: Tensor) -> None:
    rank = 1 if torch.linalg.svdvals(z)[1] < 1.5 else 2
    _check(lambda z: maps.truncate(z, rank), z)
    _check(lambda z: maps.truncate(z, 3), z)


@pytest.mark.parametrize("bounds", [(0.0, 1.5), (0.7, 1.5), (1.0, 1.0)], ids=str)
@pytest.mark.parametrize(
    "z",
    [
        _with_singular_values(5, [2.0, 2.0, 0.9]),
        _with_singular_values(5, [2.0, 1.2, 0.1]),
        _with_singular_values(3, [1.2, 1.2, 1.2]),
        _with_singular_values(4, [3.0, 0.2]).mT.contiguous(),
    ],
    ids=["repeated", "generic", "identity", "wide"],
)
def test_clamp_singular_values(z: Tensor, bounds: tuple[float, float]) -> None:
    _check(lambda z: maps.clamp_singular_values(z, *bounds), z)


@pytest.mark.parametrize("angle", [0.0, 0.5, 2.0, 3.0, 3.14])
def test_log_orthogonal(angle: float) -> None:
    a = torch.zeros(4, 4, dtype=torch.float64)
    a[0, 1], a[2, 3] = angle, 0.3
    q = maps.expm_skew(skew(2 * a))
    # Through the polar factor, because differences leave the group and derivatives do not.
    _check(lambda z: maps.log_orthogonal(maps.polar(z)), q, second=angle < 3.1)


@pytest.mark.parametrize(
    ("module", "z", "dimension"),
    [
        (maps.LowRank(2), _with_singular_values(5, [2.0, 2.0, 0.0, 0.0]), (5 + 4 - 2) * 2),
        (maps.FixedRank(2), _with_singular_values(5, [2.0, 2.0, 0.0, 0.0]), (5 + 4 - 2) * 2),
        (maps.FixedRank(3), _with_singular_values(4, [2.0, 1.0, 1.0]).mT, (4 + 3 - 3) * 3),
        (maps.PositiveSemidefinite(2), _with_spectrum([2.0, 2.0, 0.0, 0.0]), 4 * 2 - 1),
        (maps.Square(2), _with_spectrum([2.0, 2.0, 0.0, 0.0]), 4 * 2 - 1),
    ],
    ids=["low rank", "fixed rank", "full rank", "semidefinite", "square"],
)
def test_jacobian_has_the_rank_of_the_manifold(
    module: torch.nn.Module, z: Tensor, dimension: int
) -> None:
    """The rank at repeated singular values, where a diagonal middle factor would lose rank."""
    factors = module.right_inverse(z)
    factors = factors if isinstance(factors, tuple) else (factors,)
    jacobians = torch.autograd.functional.jacobian(module, factors)
    jacobian = torch.cat([j.reshape(z.numel(), -1) for j in jacobians], -1)
    assert int(torch.linalg.matrix_rank(jacobian, atol=1e-9)) == dimension
    _check(module, *factors)


def test_rank_is_kept_by_any_factors() -> None:
    u, v, m = _random(6, 2), _random(5, 2, seed=2), 3 * _random(2, 2, seed=3)
    for scale in (0.0, 1e-3, 1.0, -2.0):
        values = torch.linalg.svdvals(maps.FixedRank(2)(u, scale * m, v))
        assert float(values[1]) > 1e-8 and float(values[2]) < 1e-12 * float(values[0])
        p = maps.PositiveSemidefinite(2)(u, scale * m)
        assert torch.equal(p, p.mT) and int(torch.linalg.matrix_rank(p)) == 2
        assert float(torch.linalg.eigvalsh(p).min()) > -1e-12 * float(p.norm())


@pytest.mark.parametrize(
    "function",
    [
        lambda z: maps.expm(z),
        lambda z: maps.expm_skew(skew(z)),
        lambda z: maps.cayley(skew(z)),
        lambda z: maps.spd_exp(z),
        lambda z: maps.spd_log(z @ z.mH + torch.eye(3)),
        lambda z: maps.polar(z),
        lambda z: maps.qr(z),
    ],
    ids=["expm", "expm_skew", "cayley", "spd_exp", "spd_log", "polar", "qr"],
)
def test_complex(function: Callable[..., Tensor]) -> None:
    _check(function, _random(3, 3, dtype=torch.complex128))


@pytest.mark.parametrize("step", [maps.polar_step, maps.qr_step, maps.cayley_thin, maps.exp_thin])
def test_complex_steps(step: Callable[..., Tensor]) -> None:
    x = _orthonormal(4, 2, dtype=torch.complex128)
    v = _random(4, 2, dtype=torch.complex128, seed=4)
    for size in (0.0, 0.2, 3.0):
        _check(lambda v: step(x, v - x @ sym(x.mH @ v)), size * v)
