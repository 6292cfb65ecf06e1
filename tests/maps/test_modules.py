"""Modules: right inverses and their errors, batches, half precision, NaN, compilation."""

import inspect
from collections.abc import Callable

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from map_cases import MAP_CASES, MapCase, orthonormal, positive, rotation
from torch import Tensor, nn

from torchmanifold import parametrize
from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import gram_residual, skew, sym

over_cases = pytest.mark.parametrize("case", MAP_CASES.values(), ids=MAP_CASES.keys())
in_both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
in_all = pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str
)


def _free(module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """The tensors of the right inverse, in the form of a parametrized weight."""
    free = module.right_inverse(x)
    free = free if isinstance(free, tuple) else (free,)
    return tuple(f.detach().clone().requires_grad_() for f in free)


@over_cases
@in_all
@pytest.mark.parametrize("batch", [(), (2,), (2, 1), (0,), (3, 0)], ids=str)
def test_right_inverse(case: MapCase, dtype: torch.dtype, batch: tuple[int, ...]) -> None:
    module, x = case.make(), case.point(*batch).to(dtype)
    free = _free(module, x)
    assert all(f.dtype == dtype for f in free)
    y = module(*free)
    assert y.dtype == dtype and y.shape == x.shape
    if dtype.itemsize == 2:  # rounded twice: the free tensor, the value
        assert float((y - x).detach().float().norm()) <= 8 * torch.finfo(dtype).eps * float(
            x.norm()
        )
    else:
        tolerance = 1e-10 if dtype == torch.float64 else 2e-5
        torch.testing.assert_close(y, x, rtol=tolerance, atol=tolerance)
    y.float().sum().backward()
    assert all(f.grad is not None and bool(torch.isfinite(f.grad).all()) for f in free)


@over_cases
@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64], ids=str)
def test_complex_right_inverse(case: MapCase, dtype: torch.dtype) -> None:
    module = case.make()
    if not case.complex:
        with pytest.raises((ValueError, NotImplementedError), match="real|Complex"):
            module.right_inverse(torch.eye(4, 4, dtype=dtype))
        return
    x = case.point(2, dtype=torch.complex128).to(dtype)
    free = _free(module, x)
    y = module(*free)
    tolerance = 1e-10 if dtype == torch.complex128 else 5e-5
    assert y.dtype == dtype
    torch.testing.assert_close(y, x, rtol=tolerance, atol=tolerance)
    if dtype == torch.complex128:
        assert torch.autograd.gradcheck(module, free)


@over_cases
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_rounded_once(case: MapCase, dtype: torch.dtype) -> None:
    module = case.make()
    free = [f.detach() for f in _free(module, case.point(2).to(dtype))]
    y, single = module(*free), module(*(f.float() for f in free))
    assert y.dtype == dtype
    torch.testing.assert_close(y, single.to(dtype), rtol=0, atol=0)


SQUARE = (
    maps.MatrixExponential,
    maps.CayleyMap,
    maps.DoublyStochastic,
    maps.SpdExponential,
    maps.SpdLogarithm,
    maps.Softplus,
    maps.Square,
    maps.Cholesky,
    maps.Symmetric,
    maps.Skew,
    maps.PositiveDeterminant,
    maps.UnitDeterminant,
    maps.Hurwitz,
)


@over_cases
@in_both
@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (2, 0, 0)], ids=str)
def test_no_entries(case: MapCase, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """The empty matrix both ways with two derivatives, or the reason why there is none."""
    module, x = case.make(), torch.zeros(shape, dtype=dtype)
    of_rank = hasattr(module, "rank") and module.rank is not None
    nonsquare = isinstance(module, SQUARE) and shape[-2] != shape[-1]
    if of_rank or nonsquare or isinstance(module, maps.UnitNorm):
        with pytest.raises(ValueError, match=f"{type(module).__name__}.*(rank|shape)"):
            module.right_inverse(x)
        return
    free = _free(module, x)
    y = module(*free)
    assert y.shape == shape and y.dtype == dtype
    for create_graph in (False, True):
        gradients = torch.autograd.grad(y.sum(), free, retain_graph=True, create_graph=create_graph)
        assert [g.shape for g in gradients] == [f.shape for f in free]
    if any(g.requires_grad for g in gradients):
        torch.autograd.grad(sum(g.sum() for g in gradients), free, allow_unused=True)


@in_both
@pytest.mark.parametrize(
    ("function", "shape"),
    [
        *((f, (0, 0)) for f in (maps.spd_sqrt, maps.spd_inv_sqrt, maps.expm1, maps.log_orthogonal)),
        *((f, (0, 0)) for f in (maps.cayley_step, maps.exp_step, maps.solve_lyapunov, maps.d_exp)),
        *((f, (3, 0)) for f in (maps.polar_step, maps.qr_step, maps.projected_qr_step)),
        *((f, (3, 0)) for f in (maps.cayley_thin, maps.exp_thin)),
        (lambda z: maps.truncate(z, 1), (3, 0)),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_functions_of_no_entries(
    function: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    count = len(inspect.signature(function).parameters)
    arguments = [torch.zeros(shape, dtype=dtype, requires_grad=True) for _ in range(count)]
    y = function(*arguments)
    assert y.shape == shape and y.dtype == dtype
    assert all(g.shape == shape for g in torch.autograd.grad(y.sum(), arguments))


@over_cases
def test_shapes_on_the_meta_device(case: MapCase) -> None:
    module, x = case.make(), case.point(2).to("meta")
    free = _free(module, x)
    y = module(*free)
    assert y.is_meta and y.shape == x.shape
    y.sum().backward()


@over_cases
def test_batched_equals_looped(case: MapCase) -> None:
    """`batched = True` promises that one call takes a stack, and that the config is hashable."""
    module = case.make()
    assert module.batched and hash(module.config) is not None
    free = [f.detach() for f in _free(module, case.point())]
    stacks = [torch.stack([f, f + 0.01 * torch.randn_like(f)]) for f in free]
    together = module(*stacks)
    torch.testing.assert_close(
        together, torch.stack([module(*(stack[k] for stack in stacks)) for k in range(2)])
    )
    torch.testing.assert_close(torch.func.vmap(module)(*stacks), together)


@over_cases
def test_modules_compile_without_graph_breaks(case: MapCase) -> None:
    torch._dynamo.reset()
    module = case.make()
    free = _free(module, case.point(2))
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    expected, actual = module(*free), compiled(*free)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    g = torch.randn_like(expected)
    gradients = (torch.autograd.grad(y, free, g) for y in (actual, expected))
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


HOSTILE: dict[str, Callable[[int], Tensor]] = {
    "zero": lambda n: torch.zeros(n, n),
    "identity": lambda n: torch.eye(n),
    "-identity": lambda n: -torch.eye(n),
    "reflection": lambda n: torch.eye(n) - 2 * torch.ones(n, n) / n,
    "normal": lambda n: torch.randn(n, n),
    "rank one": lambda n: torch.randn(n, 1) @ torch.randn(1, n),
    "ones": lambda n: torch.ones(n, n),
    "duplicate": lambda n: torch.randn(n, 1).expand(n, n),
    "positive": lambda n: positive(n, n),
    "rotation": lambda n: rotation(n, n),
    "tiny": lambda n: 1e-30 * torch.randn(n, n),
    "huge": lambda n: 1e30 * torch.randn(n, n),
    "symmetric huge": lambda n: torch.full((n, n), 3e38),
    "nan": lambda n: torch.eye(n).masked_fill(torch.eye(n) == 1, torch.nan),
    "infinite": lambda n: torch.eye(n).masked_fill(torch.eye(n) == 1, torch.inf),
}


@hypothesis.given(
    name=st.sampled_from(list(MAP_CASES)),
    kind=st.sampled_from(list(HOSTILE)),
    n=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 3),
)
@hypothesis.settings(max_examples=500)
def test_registration_is_refused_or_right(
    name: str, kind: str, n: int, dtype: torch.dtype, seed: int
) -> None:
    """An error that names the map and leaves the weight, or a finite value and gradient."""
    torch.manual_seed(seed)
    weight = HOSTILE[kind](n).to(dtype).contiguous()
    module = nn.Module()
    module.weight = nn.Parameter(weight.clone())
    map = MAP_CASES[name].make()
    try:
        parametrize.register_parametrization(module, "weight", map)
    except ValueError as error:
        assert type(map).__name__ in str(error), error
        assert torch.equal(module.weight.view(torch.uint8), weight.view(torch.uint8))
        return
    assert bool(torch.isfinite(weight).all())
    value = module.weight
    assert value.dtype == dtype and bool(torch.isfinite(value).all())
    if isinstance(map, maps.Polar | maps.QR | maps.Householder | maps.NewtonSchulz):
        assert float(gram_residual(value.detach())) <= 8 * torch.finfo(dtype).eps * n
    elif isinstance(map, maps.UnitNorm):
        assert float((value.detach().double().norm(dim=map.dim) - 1).abs().max()) <= 2 * (
            torch.finfo(dtype).eps * n
        )
    # At a scale of 3e38 the gradient is out of the range of float32, in both directions.
    if kind != "symmetric huge":
        value.sum().backward()
        for parameter in module.parameters():
            if parameter.grad is not None:
                assert not bool(parameter.grad.isnan().any())


def test_a_chain_keeps_the_weight() -> None:
    layer = nn.Linear(4, 4, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(rotation(4, 4))
    before = layer.weight.detach().clone()
    chain = nn.Sequential(maps.Skew(), maps.CayleyMap())
    free = before
    for link in reversed(chain):
        free = link.right_inverse(free)
    torch.testing.assert_close(chain(free), before)


@pytest.mark.parametrize(
    ("module", "value", "words"),
    [
        (maps.CayleyMap(), torch.diag(torch.tensor([1.0, -1.0])), r"determinant -1.*tm\.constrain"),
        (maps.CayleyMap(), -torch.eye(2), r"eigenvalue -1.*tm\.constrain"),
        (maps.CayleyMap(), 2 * torch.eye(2), r"not orthogonal: \|\|q'q - I\|\| is 4\.24"),
        (maps.CayleyMap(), torch.ones(2, 3), r"shape \(2, 3\)"),
        (maps.CayleyMap(), torch.full((2, 2), torch.nan), "not finite"),
        (maps.MatrixExponential(), torch.diag(torch.tensor([1.0, -1.0])), "determinant -1"),
        (maps.MatrixExponential(), -torch.eye(2), r"eigenvalue -1.*tm\.constrain"),
        (maps.MatrixExponential(), torch.diag(torch.tensor([2.0, -1.0])), "eigenvalue is -1"),
        (maps.MatrixExponential(), torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "neither orthogonal"),
        (maps.MatrixExponential(), torch.ones(3), r"shape \(3,\)"),
        (maps.SpdExponential(), -torch.eye(2), "least eigenvalue is -1"),
        (maps.Softplus(), torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "not symmetric.* 1"),
        (maps.Cholesky(), torch.zeros(2, 2), "not positive definite"),
        (maps.Cholesky(), torch.full((2, 2), torch.inf), "not finite"),
        (maps.Square(1), torch.eye(2), "rank 1"),
        (maps.Square(3), torch.eye(2), "rank of at most 2"),
        (maps.Square(), torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
        (maps.SpdLogarithm(), torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
        (maps.SpdLogarithm(), 100 * torch.eye(2), "cannot hold"),
        (maps.SpdLogarithm(), 20 * torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "cannot hold"),
        (maps.MatrixExponential(skew=True), 2 * torch.eye(2), "not orthogonal"),
        (maps.Polar(), torch.ones(2, 3), "transpose"),
        (maps.Polar(), torch.ones(3, 2), r"not orthonormal.* 5\.1;.*maps.polar"),
        (maps.QR(), 2 * torch.eye(2), r"not orthonormal: \|\|x'x - I\|\| is 4.24"),
        (maps.NewtonSchulz(), torch.zeros(3, 2), "not orthonormal"),
        (maps.Householder(), torch.ones(3, 2), "not orthonormal"),
        (maps.QR(), torch.full((3, 2), torch.nan), "not finite"),
        (maps.LowRank(3), torch.ones(2, 3), r"rank 3.*\(2, 3\)"),
        (maps.LowRank(1), torch.full((2, 2), torch.nan), "not finite"),
        (maps.FixedRank(2), torch.ones(3, 3), "smaller rank than 2"),
        (maps.PositiveSemidefinite(2), torch.ones(3, 3), "smaller rank than 2"),
        (maps.SpectralBound(), 2 * torch.eye(2), r"\[2, 2\], not in \[0, 1\]"),
        (maps.Symmetric(), torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
        (maps.Skew(), torch.eye(2), "not skew"),
        (maps.Skew(), torch.ones(2, 3), r"shape \(2, 3\)"),
        (maps.Triangular(), torch.ones(2, 2), "not triangular"),
        (maps.PositiveDeterminant(), -torch.eye(3), "must be positive"),
        (maps.PositiveDeterminant(), -2 * torch.eye(2), "eigenvalue -1"),
        (maps.UnitDeterminant(), 2 * torch.eye(2), "differs from 1 by 3"),
        (maps.Hurwitz(1.0), -0.5 * torch.eye(2), "real part -0.5, which is not below -1"),
        (maps.UnitNorm(), torch.ones(2), "differs from 1 by 0.414"),
        (maps.UnitNorm(), torch.tensor([1.0, torch.nan]), "not finite"),
        (maps.Positive(), torch.tensor([1.0, -2.0]), "least is -2"),
        (maps.Positive(), torch.tensor([1.0, torch.inf]), "not finite"),
        (maps.Hurwitz(), torch.full((2, 2), torch.nan), "not finite"),
        (maps.UnitDeterminant(), torch.full((2, 2), torch.nan), "not finite"),
        (maps.SpectralBound(), torch.full((2, 2), torch.nan), "not finite"),
        (maps.LowRank(1), torch.full((2, 2), 3e38), "not finite"),
        (maps.PositiveDeterminant(), torch.eye(2, dtype=torch.complex64), "real"),
    ],
)
def test_right_inverse_says_what_is_wrong(module: nn.Module, value: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){type(module).__name__}.right_inverse.*{words}"):
        module.right_inverse(value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: maps.NewtonSchulz(0), "steps must be at least 1, got 0"),
        (lambda: maps.Hurwitz(-1.0), "margin must be at least 0, got -1.0"),
        (lambda: maps.Square(0), "rank must be at least 1, got 0"),
        (lambda: maps.FixedRank(0), "rank must be at least 1, got 0"),
        (lambda: maps.PositiveSemidefinite(0), "rank must be at least 1, got 0"),
        (lambda: maps.LowRank(0), "rank must be at least 1, got 0"),
        (lambda: maps.SpectralBound(2.0, 1.0), "low=2.0, high=1.0"),
    ],
)
def test_construction_says_what_is_wrong(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_determinants_and_stability() -> None:
    z = 2 * torch.randn(20, 3, 3, dtype=torch.float64)
    assert bool((torch.linalg.det(maps.PositiveDeterminant()(z)) > 0).all())
    ones = torch.ones(20, dtype=torch.float64)
    torch.testing.assert_close(torch.linalg.det(maps.UnitDeterminant()(z)), ones)
    real = torch.linalg.eigvals(maps.Hurwitz(0.5)(z)).real
    assert float(real.max()) < -0.5


def test_householder_is_immune_to_weight_decay() -> None:
    module = maps.Householder()
    x = orthonormal(6, 3)
    free = module.right_inverse(x)
    torch.testing.assert_close(module(0.01 * free), x)
    free = free * torch.tensor([0.5, 2.0, 7.0])
    torch.testing.assert_close(module(free), x)
    # A column that has decayed to zero still gives a reflection, which a gradient moves.
    free[:, 1] = 0
    free.requires_grad_()
    y = module(free)
    assert float(gram_residual(y.detach())) < 1e-14
    y.square().mul(torch.arange(18.0).reshape(6, 3)).sum().backward()
    assert free.grad is not None and bool(torch.isfinite(free.grad).all())


def test_scale_does_not_matter() -> None:
    z = torch.randn(6, 3)
    for function in (maps.polar, maps.qr, maps.householder, maps.UnitNorm()):
        for size in (1e-30, 1e-20, 1e20, 1e30):
            torch.testing.assert_close(function(size * z), function(z), rtol=1e-4, atol=1e-5)


def test_a_zero_vector_has_a_norm_of_one_too() -> None:
    z = torch.randn(3, 4)
    z[1] = 0
    z.requires_grad_()
    x = maps.UnitNorm()(z)
    torch.testing.assert_close(x.norm(dim=-1), torch.ones(3))
    (gradient,) = torch.autograd.grad((x * torch.arange(4.0)).sum(), z)
    assert bool(torch.isfinite(gradient).all()) and bool((gradient[1] != 0).any())
    assert float(maps.Positive()(torch.tensor([-1e3]))) > 0


def test_rank_deficient_has_a_nearest_point_too() -> None:
    for dtype in (torch.float32, torch.float64):
        for z in (torch.zeros(4, 2, dtype=dtype), torch.ones(4, 2, dtype=dtype)):
            z.requires_grad_()
            for function in (maps.polar, maps.qr):
                q = function(z)
                assert float(gram_residual(q.detach())) < 1e-6
                (gradient,) = torch.autograd.grad(q.sum(), z)
                assert bool(torch.isfinite(gradient).all())


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "expm": maps.expm,
    "expm1": maps.expm1,
    "expm_skew": lambda z: maps.expm_skew(skew(z)),
    "cayley": lambda z: maps.cayley(skew(z)),
    "cayley_step": lambda z: maps.cayley_step(torch.eye(4, dtype=z.dtype), z),
    "exp_step": lambda z: maps.exp_step(torch.eye(4, dtype=z.dtype), z),
    "projected_qr_step": lambda z: maps.projected_qr_step(torch.eye(4, dtype=z.dtype), z),
    "polar": maps.polar,
    "qr": maps.qr,
    "newton_schulz": lambda z: maps.newton_schulz(z, 2),
    "householder": maps.householder,
    "spd_exp": maps.spd_exp,
    "spd_log": lambda z: maps.spd_log(z @ z.mT + torch.eye(z.shape[-1], dtype=z.dtype)),
    "spd_sqrt": lambda z: maps.spd_sqrt(z @ z.mT + torch.eye(z.shape[-1], dtype=z.dtype)),
    "spd_inv_sqrt": lambda z: maps.spd_inv_sqrt(z @ z.mT + torch.eye(z.shape[-1], dtype=z.dtype)),
    "truncate": lambda z: maps.truncate(z, 2),
    "clamp_singular_values": lambda z: maps.clamp_singular_values(z, 0.0, 1.0),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_half_precision_is_computed_in_float32(function: Callable[[Tensor], Tensor]) -> None:
    # In float32 on half-precision values, rounded once.
    z = (torch.randn(4, 4) / 2).bfloat16()
    y = function(z)
    assert y.dtype == torch.bfloat16
    assert float((y.float() - function(z.float())).abs().max()) <= 2**-6 * float(y.abs().max())
    z.requires_grad_()
    function(z).float().sum().backward()
    assert z.grad is not None and bool(torch.isfinite(z.grad).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_nan_propagates(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    z = torch.randn(4, 4, dtype=dtype)
    z[2, 1] = torch.nan
    assert bool(function(z).isnan().any())
    x = maps.polar(torch.randn(4, 2, dtype=dtype))
    for step in (maps.polar_step, maps.qr_step, maps.cayley_thin, maps.exp_thin):
        assert bool(step(x, z[:, 1:3]).isnan().any())


@hypothesis.given(
    n=st.integers(1, 5),
    exponent=st.integers(-30, 6),
    kind=st.sampled_from(["full", "rank one", "zero", "diagonal", "duplicate"]),
    seed=st.integers(0, 100),
)
@hypothesis.settings(max_examples=60)
def test_hostile_input_gives_finite_right_answers(
    n: int, exponent: int, kind: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n + 1, n, generator=generator)
    if kind == "rank one":
        z = z[:, :1] @ z[:1]
    elif kind == "zero":
        z = 0 * z
    elif kind == "diagonal":
        z = torch.eye(n + 1, n)
    elif kind == "duplicate":
        z[:, -1] = z[:, 0]
    z = z * 10.0**exponent
    x = maps.qr(torch.randn(n + 1, n, generator=generator))
    v = z - x @ sym(x.mT @ z)
    bound = 1e-5 * n**0.5
    for step in (maps.polar_step, maps.qr_step):
        assert float(gram_residual(step(x, v))) < bound
    assert float(gram_residual(maps.expm_skew(skew(z[:n])))) < bound
    assert float(gram_residual(maps.cayley(skew(z[:n])))) < 1e3 * bound
    for function in (maps.spd_exp, maps.Cholesky()) if exponent <= 1 else ():
        assert bool(torch.isfinite(function(z[:n] / 10)).all())
    assert bool(torch.isfinite(maps.truncate(z, 1)).all())
    if kind in ("full", "diagonal"):
        assert float(gram_residual(maps.polar(z))) < bound


def test_decorated_functions_have_code_of_their_own() -> None:
    """The compiler limits recompilations by code object: eight for all maps would be few."""
    functions = (maps.polar, maps.qr, maps.expm, maps.Positive.forward, maps.UnitNorm.forward)
    names = [f.__code__.co_name for f in functions]
    assert names == ["polar", "qr", "expm", "Positive.forward", "UnitNorm.forward"]
    assert len({f.__code__ for f in functions}) == len(functions)


COMPILED = {
    name: FUNCTIONS[name]
    for name in (
        "expm",
        "expm_skew",
        "exp_step",
        "cayley",
        "cayley_step",
        "polar",
        "qr",
        "projected_qr_step",
    )
}


@in_both
@pytest.mark.parametrize("size", [1e10, 1e30])
def test_a_step_of_any_length_is_computed(dtype: torch.dtype, size: float) -> None:
    x = maps.polar(torch.randn(6, 3, dtype=dtype))
    z = torch.randn(6, 3, dtype=dtype)
    v = z - x @ (x.mT @ z + z.mT @ x) / 2
    for y in (maps.projected_qr_step(x, size * z), maps.qr_step(x, size * v)):
        assert y.shape == x.shape and not bool(torch.isnan(y).any())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_map_that_reads_values_is_not_traced() -> None:
    """A value that is read while tracing would be baked in, so this must raise."""
    a = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    with pytest.raises(torch.jit.TracingCheckError):
        torch.jit.trace(maps.CayleyMap(), (a,))


# The others make a positive definite argument by a product of their own.
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"spd_log", "spd_sqrt", "spd_inv_sqrt"}))
def test_nothing_is_cast_under_autocast(name: str) -> None:
    """Products in bfloat16 would leave the set."""
    function = FUNCTIONS[name]
    z = torch.randn(4, 4, requires_grad=True)
    expected = function(z)
    with torch.autocast("cpu", torch.bfloat16):
        actual = function(z)
    assert torch.equal(actual, expected)
    g = torch.randn_like(expected.detach())
    assert all(map(torch.equal, *(torch.autograd.grad(y, z, g) for y in (actual, expected))))


@pytest.mark.parametrize("function", COMPILED.values(), ids=COMPILED.keys())
@in_both
def test_compiles_without_graph_breaks(
    function: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    z = torch.randn(4, 4, dtype=dtype, requires_grad=True)
    g = torch.randn(4, 4, dtype=dtype)
    expected, actual = function(z), compiled(z)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    (first,) = torch.autograd.grad(expected, z, g)
    (second,) = torch.autograd.grad(actual, z, g)
    torch.testing.assert_close(second, first, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("step", [maps.polar_step, maps.qr_step, maps.cayley_thin, maps.exp_thin])
@in_both
def test_steps_compile_without_graph_breaks(
    step: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    x = maps.polar(torch.randn(6, 3, dtype=dtype))
    z = torch.randn(6, 3, dtype=dtype)
    v = (z - x @ sym(x.mT @ z)).requires_grad_()
    expected = step(x, v)
    actual = torch.compile(step, backend="aot_eager", fullgraph=True)(x, v)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    g = torch.randn(6, 3, dtype=dtype)
    (first,) = torch.autograd.grad(expected, v, g)
    (second,) = torch.autograd.grad(actual, v, g)
    torch.testing.assert_close(second, first, rtol=1e-3, atol=1e-4)


def test_fixed_schedule_is_as_accurate() -> None:
    """The computation of an accelerator and of a compiled graph, matrix by matrix in one batch."""
    a = skew(torch.randn(5, 16, 16))
    sizes = torch.tensor([0.0, 1e-3, 1.0, 30.0, 1e3])
    a = a / a.abs().sum(-2).amax(-1)[:, None, None] * sizes[:, None, None]
    fixed = torch.compile(maps.expm_skew, backend="aot_eager", fullgraph=True)(a)
    assert float(gram_residual(fixed).amax()) < 5e-6
    exact = maps.expm_skew(a.double())
    assert float((fixed - exact).norm(dim=(-2, -1)).amax()) < 1e-4
