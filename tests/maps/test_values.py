"""Values against scipy in float64, and float32 against float64."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import gram_residual, skew, sym

EPS = torch.finfo(torch.float32).eps


def _relative(value: Tensor, reference: object) -> float:
    expected = torch.as_tensor(np.asarray(reference)).to(value.dtype)
    return float((value - expected).norm() / expected.norm())


def _with_one_norm(a: Tensor, size: float) -> Tensor:
    return a * (size / a.abs().sum(-2).amax(-1)[..., None, None])


def _exact_exponential(a: Tensor) -> Tensor:
    """The function of a real skew matrix, from its eigenvalues in double precision."""
    values, vectors = torch.linalg.eigh(a.to(torch.complex128) * 1j)
    return ((vectors * torch.exp(-1j * values)) @ vectors.mH).real


def _positive(n: int, condition: float, dtype: torch.dtype = torch.float64) -> Tensor:
    q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q
    values = torch.logspace(-math.log10(condition), 0, n, dtype=torch.float64)
    return sym(q @ torch.diag(values) @ q.mT).to(dtype)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_exponential_against_scipy(size: float, dtype: torch.dtype) -> None:
    a = _with_one_norm(torch.randn(12, 12, dtype=dtype), size)
    assert _relative(maps.expm(a), scipy.linalg.expm(a.numpy())) < 1e-12
    k = skew(a)
    assert _relative(maps.expm_skew(k), scipy.linalg.expm(k.numpy())) < 1e-12
    # The change keeps its relative precision where the identity would swallow it.
    if size <= 1e-3:
        assert _relative(maps.expm1(a), (a + a @ a / 2 + a @ a @ a / 6).numpy()) < 1e-9
        assert _relative(maps.expm1_skew(k), (k + k @ k / 2 + k @ k @ k / 6).numpy()) < 1e-9


def test_others_against_scipy() -> None:
    a = skew(torch.randn(8, 8, dtype=torch.float64))
    q = maps.cayley(a)
    eye = torch.eye(8, dtype=torch.float64)
    assert _relative(q, np.linalg.solve((eye - a / 2).numpy(), (eye + a / 2).numpy())) < 1e-12
    assert _relative(maps.inverse_cayley(q), a) < 1e-12
    assert _relative(maps.log_orthogonal(q), scipy.linalg.logm(q.numpy())) < 1e-12
    z = torch.randn(9, 5, dtype=torch.float64)
    assert _relative(maps.polar(z), scipy.linalg.polar(z.numpy())[0]) < 1e-12
    q, r = scipy.linalg.qr(z.numpy(), mode="economic")
    assert _relative(maps.qr(z), q * np.sign(np.diag(r))) < 1e-12
    u, sigma, vh = scipy.linalg.svd(z.numpy(), full_matrices=False)
    assert _relative(maps.truncate(z, 2), (u[:, :2] * sigma[:2]) @ vh[:2]) < 1e-12
    clipped = (u * np.clip(sigma, 0.5, 2.0)) @ vh
    assert _relative(maps.clamp_singular_values(z, 0.5, 2.0), clipped) < 1e-12
    p = _positive(8, 10.0)
    assert _relative(maps.spd_log(p), scipy.linalg.logm(p.numpy())) < 1e-12
    assert _relative(maps.spd_sqrt(p), scipy.linalg.sqrtm(p.numpy())) < 1e-12
    assert _relative(maps.spd_inv_sqrt(p), np.linalg.inv(scipy.linalg.sqrtm(p.numpy()))) < 1e-12
    s = sym(torch.randn(8, 8, dtype=torch.float64))
    z0 = torch.randn(8, 8, dtype=torch.float64) / 4
    assert _relative(maps.spd_exp(s), scipy.linalg.expm(s.numpy())) < 1e-12
    softplus = scipy.linalg.logm(np.eye(8) + scipy.linalg.expm(s.numpy()))
    assert _relative(maps.Softplus()(s), softplus) < 1e-12
    factor = scipy.linalg.cholesky(p.numpy(), lower=True)
    free = np.tril(factor, -1) + np.diag(np.log(np.diag(factor)))
    assert _relative(maps.Cholesky().right_inverse(p), free) < 1e-12
    x = scipy.linalg.expm(skew(z0).numpy()) @ scipy.linalg.expm(sym(z0).numpy())
    assert _relative(maps.PositiveDeterminant()(z0), x) < 1e-12
    u = torch.randn(8, 8, dtype=torch.float64)
    expected = scipy.linalg.solve_sylvester(p.numpy(), p.numpy(), u.numpy())
    assert _relative(maps.solve_lyapunov(p, u), expected) < 1e-12
    e = torch.randn(8, 8, dtype=torch.float64)
    expected = scipy.linalg.expm_frechet(s.numpy(), e.numpy(), compute_expm=False)
    assert _relative(maps.d_exp(s, e), expected) < 1e-12
    assert _relative(maps.d_log(maps.spd_exp(s), maps.d_exp(s, e)), e) < 1e-12


@pytest.mark.parametrize("n", [8, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_steps_of_rotations_against_scipy(n: int, dtype: torch.dtype) -> None:
    """All branches: a sum of powers, Newton steps, the inverse, and float64 for long steps."""
    x = maps.newton_schulz(maps.qr(torch.randn(n, n, dtype=torch.float64)))
    z = torch.randn(n, n, dtype=torch.float64)
    z = z / torch.linalg.matrix_norm(skew(z), 2)
    for size in (0.0, 1e-6, 1e-3, 7e-3, 0.03, 0.06, 0.09, 0.2, 0.5, 1.0, 3.0, 30.0, 1e3):
        a, eye = skew(size * z).numpy(), np.eye(n)
        for step, q in (
            (maps.cayley_step, np.linalg.solve(eye - a / 2, eye + a / 2)),
            (maps.exp_step, scipy.linalg.expm(a)),
        ):
            y = step(x.to(dtype), (size * z).to(dtype))
            eps = torch.finfo(dtype).eps
            assert float(gram_residual(y)) <= 10 * eps * n**0.5
            # The argument is rounded too; a rotation by it turns as far as its norm.
            assert _relative(y.double(), x.numpy() @ q) <= 20 * eps * (1 + size)


@pytest.mark.parametrize("shape", [(9, 3), (40, 40), (2, 300, 30)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128], ids=str)
def test_projected_step_is_a_step_along_the_projection(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = maps.newton_schulz(maps.qr(torch.randn(*shape, dtype=dtype)))
    z = torch.randn(*shape, dtype=dtype) / shape[-2] ** 0.5
    eps = torch.finfo(dtype).eps
    for size in (0.0, 1e-6, 1e-3, 0.03, 0.3, 1.0, 3.0, 100.0):
        y = maps.projected_qr_step(x, size * z)
        assert float(gram_residual(y).amax()) <= 10 * eps * shape[-1] ** 0.5
        v = size * z - x @ sym(x.mH @ (size * z))
        assert _relative(y, maps.qr(x + v)) <= 100 * eps * (1 + size)


def test_thin_forms_against_square_ones() -> None:
    """The n x n generator of rank 2p, formed once, gives what the thin forms give."""
    x = maps.qr(torch.randn(9, 3, dtype=torch.float64))
    z = torch.randn(9, 3, dtype=torch.float64)
    v = z - x @ sym(x.mT @ z)
    for size in (1e-3, 1.0, 20.0):
        u = size * v
        w = (u - x @ (x.mT @ u) / 2) @ x.mT
        w = w - w.mT
        assert _relative(w @ x, u) < 1e-12
        assert _relative(maps.cayley_thin(x, u), maps.cayley(w) @ x) < 1e-12
        assert _relative(maps.exp_thin(x, u), maps.expm_skew(w) @ x) < 1e-12
        assert _relative(maps.polar_step(x, u), maps.polar(x + u)) < 1e-12
        assert _relative(maps.qr_step(x, u), maps.qr(x + u)) < 1e-12


@pytest.mark.parametrize("n", [64, 256])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.05, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4])
def test_exponential_in_float32(n: int, size: float) -> None:
    """Orthogonal to 5e-6 at every norm, and never worse than torch."""
    a = _with_one_norm(skew(torch.randn(n, n)), size)
    exact = _exact_exponential(a)
    ours, torchs = maps.expm_skew(a), torch.matrix_exp(a)
    assert float(gram_residual(ours)) < 5e-6
    error, reference = (float((q - exact).norm()) for q in (ours, torchs))
    assert error <= 1.5 * reference + 1e-12
    assert float((maps.expm(a) - exact).norm()) <= 1.5 * reference + 1e-12


def _torch_cayley(a: Tensor) -> Tensor:
    """As in `torch.nn.utils.parametrizations.orthogonal`."""
    eye = torch.eye(a.shape[-1], dtype=a.dtype)
    return torch.linalg.solve(eye - a / 2, eye + a / 2)


@pytest.mark.parametrize("n", [3, 16, 128])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.05, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4])
def test_cayley_in_float32(n: int, size: float) -> None:
    """Value and gradient of one matrix and of a batch, as near to the exact ones as torch's."""
    count = 8 if n > 16 else 64  # of one 3 x 3 matrix the error is a matter of luck
    a = torch.stack([_with_one_norm(skew(torch.randn(n, n)), size) for _ in range(count)])
    g = torch.randn(count, n, n)
    q = maps.newton_schulz(maps.qr(torch.randn(n, n)))

    def outcome(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        x = a.to(dtype, copy=True).requires_grad_()
        y = function(x)
        (gradient,) = torch.autograd.grad(y, x, g.to(dtype))
        return y.detach().double(), skew(gradient.double())

    def step(x: Tensor) -> Tensor:
        return q.to(x.dtype) @ _torch_cayley(skew(x))

    for function, torchs in (
        (maps.cayley, _torch_cayley),
        (lambda x: torch.stack([maps.cayley(each) for each in x]), _torch_cayley),
        # Short and long steps together.
        (lambda x: maps.cayley(torch.cat([x, 1e4 * x[:1], 0 * x[:1]]))[:count], _torch_cayley),
        (lambda x: maps.cayley_step(q, x), step),
    ):
        exact, theirs = outcome(torchs, torch.float64), outcome(torchs, torch.float32)
        for k, value in enumerate(outcome(function, torch.float32)):
            error, reference = (float((y - exact[k]).norm()) for y in (value, theirs[k]))
            assert error <= 1.5 * reference + EPS, (k, error / reference)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0])
def test_gradient_of_exponential_against_scipy(size: float) -> None:
    """The adjoint of every degree, to more digits than differences could show."""
    a = _with_one_norm(torch.randn(12, 12, dtype=torch.float64), size)
    g = torch.randn(12, 12, dtype=torch.float64)
    for function, point, project in (
        (maps.expm, a, lambda x: x),
        (maps.expm_skew, skew(a), skew),
    ):
        x = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(x), x, g)
        expected = scipy.linalg.expm_frechet(point.mT.numpy(), g.numpy(), compute_expm=False)
        assert _relative(gradient, project(torch.from_numpy(expected))) < 1e-12
        # The form that is differentiable a second time.
        (gradient,) = torch.autograd.grad(function(x), x, g, create_graph=True)
        assert _relative(gradient.detach(), project(torch.from_numpy(expected))) < 1e-12


def test_gradient_of_exponential_in_float32() -> None:
    for size in (1e-3, 0.3, 1.0, 20.0, 1e3):
        a = _with_one_norm(skew(torch.randn(64, 64)), size)
        g = torch.randn(64, 64)
        gradients = []
        for function, dtype in (
            (torch.matrix_exp, torch.float64),
            (torch.matrix_exp, torch.float32),
            (maps.expm_skew, torch.float32),
            (maps.expm, torch.float32),
        ):
            x = a.to(dtype, copy=True).requires_grad_()
            (gradient,) = torch.autograd.grad(function(x), x, g.to(dtype))
            gradients.append(skew(gradient).double())
        exact, torchs, ours, general = gradients
        reference = float((torchs - exact).norm())
        assert float((ours - exact).norm()) <= 1.5 * reference
        assert float((general - exact).norm()) <= 1.5 * reference


@pytest.mark.parametrize("shape", [(64, 32), (64, 64), (300, 20), (7, 1), (3, 16, 8)], ids=str)
@pytest.mark.parametrize(
    "size", [0.0, 1e-6, 1e-3, 0.02, 0.05, 0.1, 0.2, 0.3, 0.99, 1.01, 3.0, 30.0, 1e4]
)
@pytest.mark.parametrize("rank_one", [False, True], ids=["full", "rank one"])
def test_steps_in_float32(shape: tuple[int, ...], size: float, rank_one: bool) -> None:
    """A residual of at most 10 eps sqrt(p), and the right point, for steps of any length."""
    *batch, n, p = shape
    x = maps.polar(torch.randn(*shape))
    z = torch.randn(*shape)
    if rank_one:
        z = torch.randn(*batch, n, 1) @ torch.randn(*batch, 1, p)
    v = z - x @ sym(x.mT @ z)
    v = v * (size / torch.linalg.matrix_norm(v, 2).amax())
    total = x.double() + v.double()
    for step, exact in ((maps.polar_step, maps.polar(total)), (maps.qr_step, maps.qr(total))):
        y = step(x, v)
        assert y.dtype == torch.float32
        assert float(gram_residual(y).amax()) <= 10 * EPS * p**0.5
        assert float((y - exact).norm(dim=(-2, -1)).amax()) <= 20 * EPS * p**0.5
    for step in (maps.cayley_thin, maps.exp_thin):
        y = maps.newton_schulz(step(x, v))
        assert float(gram_residual(y).amax()) <= 10 * EPS * p**0.5
        if size > 1e3:  # in float64 it is shortened
            continue
        exact = maps.newton_schulz(step(x.double(), v.double()))
        assert float((y - exact).norm(dim=(-2, -1)).amax()) <= 1e-4 * p**0.5


@pytest.mark.parametrize("step", [maps.polar_step, maps.qr_step])
def test_short_steps_need_no_factorization(
    step: Callable[[Tensor, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products are enough in both precisions, with one, two or three terms."""
    points = {
        dtype: torch.linalg.qr(torch.randn(3, 16, 8, dtype=torch.complex128)).Q.to(dtype)
        for dtype in (torch.complex64, torch.complex128)
    }
    exact = maps.polar if step is maps.polar_step else maps.qr
    cases = []
    for dtype, x in points.items():
        z = torch.randn(3, 16, 8, dtype=dtype)
        for size in (1e-5, 3e-4, 2e-3):
            v = size * (z - x @ sym(x.mH @ z))
            cases.append((x, v, exact(x + v)))
    for name in ("cholesky_ex", "eigh", "qr", "svd"):
        monkeypatch.setattr(torch.linalg, name, None)
    for x, v, expected in cases:
        eps = torch.finfo(x.dtype).eps
        assert float((step(x, v) - expected).abs().max()) <= 20 * eps
    assert step(torch.zeros(0, 4, 2), torch.zeros(0, 4, 2)).shape == (0, 4, 2)


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e7])
def test_polar_and_qr_of_ill_conditioned_float32(condition: float) -> None:
    u, v = maps.qr(torch.randn(64, 16).double()), maps.qr(torch.randn(16, 16).double())
    s = torch.logspace(0, -math.log10(condition), 16, dtype=torch.float64)
    z = ((u * s) @ v.mT).float()
    for function in (maps.polar, maps.qr):
        y = function(z)
        assert float(gram_residual(y)) <= 10 * EPS * 4
        assert float((y - function(z.double())).norm()) <= 20 * EPS * condition


@pytest.mark.parametrize(
    ("dtype", "condition"), [(torch.float64, 1e12), (torch.float32, 1e6)], ids=str
)
def test_finite_gradients_of_ill_conditioned(dtype: torch.dtype, condition: float) -> None:
    for n in (2, 20):
        p = _positive(n, condition, dtype).requires_grad_()
        for function in (maps.spd_log, maps.spd_sqrt, maps.spd_inv_sqrt):
            value = function(p)
            (gradient,) = torch.autograd.grad(value.sum(), p)
            assert bool(torch.isfinite(value).all()) and bool(torch.isfinite(gradient).all())
    # It is exact on a graded diagonal.
    d = torch.tensor([1.0, 1e-12], dtype=dtype).diag()
    assert _relative(maps.spd_log(d).diagonal(), [0.0, math.log(1e-12)]) < 1e-6


def test_rounding_below_zero_is_not_an_indefinite_matrix() -> None:
    for dtype in (torch.float32, torch.float64):
        z = torch.randn(8, 3, dtype=dtype)
        p = z @ z.mT
        assert bool((torch.linalg.eigvalsh(p) < 0).any())
        for function in (maps.spd_log, maps.spd_sqrt, maps.spd_inv_sqrt):
            assert bool(torch.isfinite(function(p)).all())


def test_indefinite_argument_gives_nan_not_a_number_that_looks_right() -> None:
    p = torch.diag(torch.tensor([1.0, -1.0]))
    for function in (maps.spd_log, maps.spd_sqrt, maps.spd_inv_sqrt):
        assert bool(function(p).isnan().any())


def test_truncate_is_nearest() -> None:
    z = torch.randn(2, 7, 5, dtype=torch.float64)
    y = maps.truncate(z, 2)
    s = torch.linalg.svdvals(z)
    assert bool((torch.linalg.matrix_rank(y) == 2).all())
    torch.testing.assert_close((z - y).norm(dim=(-2, -1)), s[..., 2:].norm(dim=-1))
    torch.testing.assert_close(maps.truncate(z, 5), z)
    torch.testing.assert_close(maps.clamp_singular_values(z, 1.0, 1.0), maps.polar(z))


def test_principal_logarithm_near_its_border() -> None:
    a = torch.zeros(6, 6, dtype=torch.float64)
    for k, angle in enumerate((math.pi - 1e-6, 3.0, 1e-9)):
        a[2 * k, 2 * k + 1], a[2 * k + 1, 2 * k] = angle, -angle
    q = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    a = skew(q @ a @ q.mT)
    assert _relative(maps.log_orthogonal(maps.expm_skew(a)), a) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n", [2, 6, 20])
def test_right_inverses_near_eigenvalue_minus_one(n: int, dtype: torch.dtype) -> None:
    """They round-trip, or raise where the logarithm is not unique in this precision."""
    eps = torch.finfo(dtype).eps
    for gap in 4 * (0.0, eps, eps**0.75, 3 * eps**0.5, 1e-2, 0.1):
        q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q
        a = torch.zeros(n, n, dtype=torch.float64)
        a[0, 1], a[1, 0] = math.pi - gap, gap - math.pi
        x = (q @ _exact_exponential(a) @ q.mT).to(dtype)
        rounding = 5 * eps * n / max(gap, eps)
        single = dtype == torch.float32  # solved in float64
        for module, error in (
            (maps.MatrixExponential(), 10 * eps * n if single else rounding),
            (maps.MatrixExponential(skew=True), 10 * eps * n if single else rounding),
            (maps.CayleyMap(), rounding),  # the skew matrix itself is as large as 4 / gap
        ):
            if gap < eps**0.5:
                with pytest.raises(ValueError, match="eigenvalue -1"):
                    module.right_inverse(x)
            else:
                assert float((module(module.right_inverse(x)) - x).norm()) <= error


def _by_eigh(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def function(s: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(sym(s))
        return (vectors * f(values).unsqueeze(-2)) @ vectors.mT

    return function


def _by_svd(z: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(z, full_matrices=False)
    return u @ vh


def _by_qr(z: Tensor) -> Tensor:
    q, r = torch.linalg.qr(z)
    return q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


@pytest.mark.parametrize("n", [3, 16, 64])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_factorizations_in_float32(n: int, condition: float) -> None:
    """Value and gradient are no further from the exact ones than torch's own, over a batch."""
    q = maps.qr(torch.randn(6, n, n, dtype=torch.float64))
    values = torch.logspace(-math.log10(condition), 0, n, dtype=torch.float64)
    p = sym((q * values) @ q.mT).float()
    z = ((maps.qr(torch.randn(6, 2 * n, n, dtype=torch.float64)) * values) @ q.mT).float()
    for ours, torchs, x in (
        (maps.spd_log, _by_eigh(torch.log), p),
        (maps.spd_sqrt, _by_eigh(torch.sqrt), p),
        (maps.spd_inv_sqrt, _by_eigh(torch.rsqrt), p),
        (maps.spd_exp, _by_eigh(torch.exp), 10 * p),
        (maps.Softplus(), _by_eigh(torch.nn.functional.softplus), p - p.mT / 2),
        (maps.polar, _by_svd, z),
        (maps.qr, _by_qr, z),
    ):
        g = torch.randn_like(x)
        outcomes = []
        for function, dtype in ((torchs, torch.float64), (torchs, x.dtype), (ours, x.dtype)):
            argument = x.to(dtype, copy=True).requires_grad_()
            y = function(argument)
            (gradient,) = torch.autograd.grad(y, argument, g.to(dtype))
            outcomes.append((y.detach(), gradient))
        # If eigenvalues coincide, torch has no gradient.
        for exact, theirs, value in list(zip(*outcomes, strict=True))[: 1 if condition == 1 else 2]:
            error, reference = (float((y - exact).norm()) for y in (value, theirs))
            assert error <= 1.5 * reference + EPS * float(exact.norm()), (ours, error / reference)
