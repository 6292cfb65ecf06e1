"""Maps under `torch.func`: their derivatives transformed, and batches by `vmap`."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacrev, jvp, vjp, vmap

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import skew, sym


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


BASE = torch.linalg.qr(_random(4, 3, seed=2)).Q
ROTATION = torch.linalg.qr(_random(3, 3, seed=3)).Q


def _tangent(z: Tensor) -> Tensor:
    return z - BASE @ sym(BASE.mH @ z)


def _positive(z: Tensor) -> Tensor:
    s = z.mH @ z
    return s + torch.eye(s.shape[-1], dtype=s.dtype)


def _square(z: Tensor) -> Tensor:
    return z[..., :3, :]


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "expm": lambda z: maps.expm(_square(z)),
    "expm_skew": lambda z: maps.expm_skew(skew(_square(z))),
    "exp_step": lambda z: maps.exp_step(ROTATION, _square(z)),
    "exp_step_of_both": lambda z: maps.exp_step(_square(z), _square(z).mH @ _square(z).mH),
    "cayley_step": lambda z: maps.cayley_step(ROTATION, _square(z)),
    "cayley_step_of_both": lambda z: maps.cayley_step(_square(z), _square(z).mH @ _square(z).mH),
    "cayley": lambda z: maps.cayley(skew(_square(z))),
    "log_orthogonal": lambda z: maps.log_orthogonal(maps.cayley(skew(_square(z)))),
    "polar": maps.polar,
    "qr": maps.qr,
    "householder": maps.householder,
    "newton_schulz": maps.newton_schulz,
    "polar_step": lambda z: maps.polar_step(BASE, _tangent(z)),
    "qr_step": lambda z: maps.qr_step(BASE, _tangent(z)),
    "projected_qr_step": lambda z: maps.projected_qr_step(BASE, z),
    "projected_qr_step_of_both": lambda z: maps.projected_qr_step(maps.qr(z), z.flip(-1)),
    "cayley_thin": lambda z: maps.cayley_thin(BASE, _tangent(z)),
    "exp_thin": lambda z: maps.exp_thin(BASE, _tangent(z)),
    "spd_exp": lambda z: maps.spd_exp(_square(z)),
    "spd_log": lambda z: maps.spd_log(_positive(z)),
    "softplus": lambda z: maps.Softplus()(_square(z)),
    "d_exp": lambda z: maps.d_exp(_positive(z), _square(z)),
    "d_log": lambda z: maps.d_log(_positive(z), _square(z)),
    "solve_lyapunov": lambda z: maps.solve_lyapunov(_positive(z), _square(z)),
    "truncate": lambda z: maps.truncate(z, 2),
    "truncate_all": lambda z: maps.truncate(z, 3),
    "clamp_singular_values": lambda z: maps.clamp_singular_values(z, 0.5, 1.5),
}
TWICE = {name: f for name, f in FUNCTIONS.items() if name not in ("d_exp", "d_log")}
# Short and long steps, small and large norms: each function takes several of its branches.
BATCH = _random(3, 4, 3) * torch.tensor([0.01, 0.5, 5.0], dtype=torch.float64)[:, None, None]
WEIGHTS: dict[tuple[int, ...], Tensor] = {s: _random(*s, seed=9) for s in ((3, 3), (4, 3))}

over_functions = pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())
over_twice = pytest.mark.parametrize("f", TWICE.values(), ids=TWICE.keys())


def _loss(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def loss(z: Tensor) -> Tensor:
        y = f(z)
        return (WEIGHTS[tuple(y.shape[-2:])] * y).sum() + (y**2).sum() / 3

    return loss


def _gradient(f: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(_loss(f)(z), z)[0]


def _same(actual: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max()) + 1
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9 * scale)


@over_functions
def test_vmap_is_the_loop(f: Callable[[Tensor], Tensor]) -> None:
    _same(vmap(f)(BATCH), torch.stack([f(z) for z in BATCH]))
    _same(vmap(f, in_dims=2, out_dims=1)(BATCH.movedim(0, 2)).movedim(1, 0), vmap(f)(BATCH))
    twice = torch.stack([BATCH, BATCH.flip(0)])
    _same(vmap(vmap(f))(twice), torch.stack([vmap(f)(z) for z in twice]))
    # One more dimension, before or after the mapped one.
    _same(vmap(f, in_dims=1, out_dims=1)(twice), vmap(vmap(f))(twice))


@over_functions
def test_gradients_under_transforms(f: Callable[[Tensor], Tensor]) -> None:
    expected = torch.stack([_gradient(f, z) for z in BATCH])
    _same(grad(_loss(f))(BATCH[1]), expected[1])
    _same(vmap(grad(_loss(f)))(BATCH), expected)
    _same(grad(lambda z: vmap(_loss(f))(z).sum())(BATCH), expected)
    out, pull = vjp(_loss(f), BATCH[1])
    _same(pull(torch.ones_like(out))[0], expected[1])


@over_functions
def test_jacobian(f: Callable[[Tensor], Tensor]) -> None:
    expected = torch.autograd.functional.jacobian(f, BATCH[1])
    _same(jacrev(f)(BATCH[1]), expected)
    _same(torch.autograd.functional.jacobian(f, BATCH[1], vectorize=True), expected)
    with torch.no_grad():  # the pass that keeps no graph, batched
        _same(jacrev(f)(BATCH[1]), expected)
    _same(vmap(jacrev(f))(BATCH)[1], expected)


@over_twice
def test_second_derivatives(f: Callable[[Tensor], Tensor]) -> None:
    z = BATCH[1]
    expected = torch.autograd.functional.hessian(_loss(f), z)
    direction = _random(4, 3, seed=4)
    along = (expected * direction).sum((-2, -1))
    _same(grad(lambda z: (grad(_loss(f))(z) * direction).sum())(z), along)
    _same(
        vmap(lambda e: grad(lambda z: (grad(_loss(f))(z) * e).sum())(z))(direction[None])[0], along
    )


def test_two_arguments_batched_apart() -> None:
    p, u = _positive(_random(3, 3)), _random(2, 3, 3, seed=3)
    together = torch.stack([maps.solve_lyapunov(p, e) for e in u])
    _same(vmap(maps.solve_lyapunov, in_dims=(None, 0))(p, u), together)
    # The batched argument has fewer dimensions than the other one.
    _same(vmap(maps.solve_lyapunov, in_dims=(None, 0))(p.expand(4, 3, 3), u)[:, 2], together)
    v = torch.stack([_tangent(z) for z in BATCH])
    for step in (maps.polar_step, maps.qr_step):
        loop = torch.stack([step(BASE, e) for e in v])
        _same(vmap(step, in_dims=(None, 0))(BASE.expand(2, 4, 3), v)[:, 1], loop)


def test_long_steps_are_found_in_the_batch() -> None:
    x, v = BASE.float(), torch.stack([_tangent(z) for z in (0.01 * BATCH[1], 1e4 * BATCH[1])])
    for step in (maps.cayley_thin, maps.exp_thin):
        mapped = vmap(step, in_dims=(None, 0))(x, v.float())
        torch.testing.assert_close(mapped, step(x.expand(2, 4, 3), v.float()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in FUNCTIONS
        if name not in ("cayley", "householder", "newton_schulz", "cayley_thin")
    ],
)
def test_forward_mode_raises(name: str) -> None:
    with pytest.raises((NotImplementedError, RuntimeError), match="jvp|forward"):
        jvp(FUNCTIONS[name], (BATCH[1],), (BATCH[0],))


@pytest.mark.parametrize("name", ["cayley", "householder", "newton_schulz", "cayley_thin"])
def test_forward_mode_where_it_exists(name: str) -> None:
    f, e = FUNCTIONS[name], BATCH[0]
    along = (jacrev(f)(BATCH[1]) * e).sum((-2, -1))
    _same(jvp(f, (BATCH[1],), (e,))[1], along)
    _same(hessian(_loss(f))(BATCH[1]), torch.autograd.functional.hessian(_loss(f), BATCH[1]))
