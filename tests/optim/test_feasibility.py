"""Weights stay on their manifolds: after many steps, huge steps, in bfloat16."""

import importlib
import math

import pytest
import torch
from cases import CASES, label, variants
from torch import nn

import torchmanifold as tm

MOVING = [
    (tm.optim.RiemannianSGD, {"lr": 0.03, "momentum": 0.9}),
    (tm.optim.RiemannianAdam, {"lr": 0.01}),
    (tm.optim.RiemannianMuon, {"lr": 0.03}),
]
SIZES = (0.005, 0.05, 0.3)


def exact(manifold):
    """All retractions except the approximate one."""
    return [M for M in variants(manifold) if not isinstance(M.retraction, tm.NewtonSchulz)]


ORTHOGONAL = [
    *((M, (64, 32)) for M in exact(tm.Stiefel())),
    *((M, (64, 32)) for M in exact(tm.Grassmann())),
    *((M, (64, 64)) for M in exact(tm.SpecialOrthogonal())),
    *((M, (64,)) for M in exact(tm.Sphere())),
]


def wander(manifold, shape, sizes, steps):
    """Weights after random steps, one weight for each size (spectral norm) of a step."""
    generator = torch.Generator().manual_seed(0)
    x = manifold.random(len(sizes), *shape, generator=generator)
    weights = [nn.Parameter(point) for point in x]
    for p in weights:
        tm.place_(p, manifold)
    optimizer = tm.optim.RiemannianSGD(weights, lr=1.0)
    # The spectral norm of a normal matrix is about sqrt(n) + sqrt(p).
    norm = sum(math.sqrt(n) for n in shape[-2:])
    for _ in range(steps):
        for p, size in zip(weights, sizes, strict=True):
            p.grad = torch.randn(*shape, generator=generator) * (size / norm)
        optimizer.step()
    return torch.stack(weights).detach()


def bound(x, manifold):
    p = x.shape[-1] if manifold.event_ndim == 2 else 1
    return 10 * torch.finfo(x.dtype).eps * math.sqrt(p)


@pytest.mark.parametrize(("manifold", "shape"), ORTHOGONAL, ids=label)
def test_a_thousand_steps(manifold, shape):
    x = wander(manifold, shape, SIZES, 1000)
    assert manifold.residual(x).max() <= bound(x, manifold)


@pytest.mark.parametrize(("optimizer", "options"), MOVING, ids=["sgd", "adam", "muon"])
@pytest.mark.parametrize("manifold", exact(tm.Stiefel()), ids=label)
def test_rounding_does_not_grow(manifold, optimizer, options):
    """The Brockett cost has a positive `sym(x'g)`, so a step enlarges a residual unless the
    retraction corrects it.
    """
    x = manifold.random(64, 4, generator=torch.Generator().manual_seed(0))
    weight = nn.Parameter(x)
    tm.place_(weight, manifold)
    optimizer = optimizer([weight], **options)
    a, n = torch.linspace(1, 2, 64)[:, None], torch.arange(1.0, 5.0)
    for _ in range(1000):
        weight.grad = 2 * a * weight.detach() * n
        optimizer.step()
    assert manifold.residual(weight.detach()) <= bound(x, manifold)


@pytest.mark.parametrize(
    ("manifold", "shape"),
    [(tm.Stiefel(), (64, 32)), (tm.SpecialOrthogonal(), (64, 64)), (tm.Sphere(), (64,))],
    ids=label,
)
def test_ten_thousand_steps(manifold, shape):
    """Many steps of the default retractions: a thousand would not show rounding that adds up."""
    x = wander(manifold, shape, SIZES, 10_000)
    assert manifold.residual(x).max() <= bound(x, manifold)


@pytest.mark.slow
@pytest.mark.parametrize(("manifold", "shape"), ORTHOGONAL, ids=label)
def test_a_hundred_thousand_steps(manifold, shape):
    x = wander(manifold, shape, SIZES, 100_000)
    assert manifold.residual(x).max() <= bound(x, manifold)


def descend(manifold, shape, make, weights, steps):
    """Weights after noisy steps, each towards a fixed point, and the largest residual on the way.

    The pull keeps them where float32 has digits, also in unbounded spaces.
    """
    generator = torch.Generator().manual_seed(0)
    # Small points, because the steps to large ones are too long for plain descent.
    x, target = (
        manifold.sample(0.3 * torch.randn(weights, *shape, generator=generator)) for _ in range(2)
    )
    weight = tm.place_(nn.Parameter(x), manifold)
    optimizer = make([weight], lr=0.01)
    noise = torch.randn(251, weights, *shape, generator=generator)
    worst = 0.0
    for step in range(steps):
        weight.grad = weight.detach() - target + noise[step % 251]
        optimizer.step()
        if step % 1000 == 999:
            worst = max(worst, float(manifold.residual(weight.detach()).max()))
            assert torch.isfinite(weight).all()
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case.manifold))
@pytest.mark.parametrize(
    "make", [tm.optim.RiemannianSGD, tm.optim.RiemannianAdam, tm.optim.RiemannianRMSprop]
)
def test_two_hundred_thousand_steps(case, make):
    """Ten thousand steps of twenty weights on every manifold, with its defaults, in float32."""
    shape = case.shapes[0]
    worst = descend(case.manifold, shape, make, weights=20, steps=10_000)
    assert worst <= case.manifold.tolerance(shape, torch.float32)


@pytest.mark.parametrize("steps", [1, 2])
def test_newton_schulz_within_its_bound(steps):
    """One step leaves 3/4 e^4; rounding is kept for e up to 0.035 and 0.2."""
    manifold = tm.Stiefel(retraction=tm.NewtonSchulz(steps))
    x = wander(manifold, (64, 32), [0.01 if steps == 1 else 0.1], 1000)
    assert manifold.residual(x).max() <= bound(x, manifold)


@pytest.mark.parametrize(("steps", "bound"), [(1, 0.05), (2, 1.6e-3), (3, 3e-6)])
@pytest.mark.parametrize("shape", [(8, 4), (32, 32), (16, 1)], ids=label)
def test_newton_schulz_shortens_what_is_long(shape, steps, bound):
    """Steps of any length, also of rank one and along a normal direction."""
    manifold = tm.Stiefel(retraction=tm.NewtonSchulz(steps))
    generator = torch.Generator().manual_seed(0)
    rates = torch.tensor([0.1, 1.0, 1e2, 1e4, 1e30])[:, None, None]
    x, eye = manifold.random(5, *shape, generator=generator), torch.eye(shape[-1])
    for i in range(300):
        gradients = (
            torch.randn(5, *shape, generator=generator),
            torch.linspace(1, 2, shape[0])[:, None] * x * torch.arange(1, shape[1] + 1),
            torch.randn(5, shape[0], 1, generator=generator) * torch.ones(1, shape[1]),
        )
        start = manifold.project(x) if steps == 1 else x
        v = -rates * manifold.tangent(start, gradients[i % 3])
        x = manifold.retract(start, v)
        assert torch.linalg.matrix_norm(x.mT @ x - eye, ord=2).max() <= bound


def test_a_shortened_step_keeps_its_direction():
    manifold = tm.Stiefel(retraction=tm.NewtonSchulz(2))
    x = manifold.random(8, 3, dtype=torch.float64)
    v = manifold.random_tangent(x)
    v = 0.5 * v / torch.linalg.matrix_norm(v.mT @ v).sqrt()
    y = manifold.retract(x, v)
    assert not torch.allclose(y, x)
    for size in (1.0001, 10.0, 1e4):
        assert torch.allclose(manifold.retract(x, size * v), y, rtol=0, atol=1e-14)


def test_short_steps_of_newton_schulz_are_not_touched():
    x = tm.Stiefel().random(3, 16, 8)
    v = tm.Stiefel().tangent(x, torch.randn(3, 16, 8))
    v = v / torch.linalg.matrix_norm(v.mT @ v, keepdim=True).sqrt() * torch.tensor(0.499)
    assert torch.linalg.matrix_norm(v).min() > 0.5
    for steps in (1, 2):
        y = tm.Stiefel(retraction=tm.NewtonSchulz(steps)).retract(x, v)
        assert torch.equal(y, tm.maps.newton_schulz(x + v, steps))


@pytest.mark.parametrize("size", [0.0, 0.3, 3.0, 1e3])
def test_newton_schulz_has_derivatives_at_every_length(size):
    manifold = tm.Stiefel(retraction=tm.NewtonSchulz(2))
    x = manifold.random(5, 3, dtype=torch.float64)
    v = size * manifold.random_tangent(x)
    v.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: manifold.retract(x, v), v, eps=1e-6 * max(1, size))
    assert torch.autograd.gradgradcheck(
        lambda v: manifold.retract(x, v), v, eps=1e-6 * max(1, size)
    )


def test_newton_schulz_reads_no_value_on_an_accelerator(monkeypatch):
    """On an accelerator a mask decides, with the same result."""
    orthonormal = importlib.import_module("torchmanifold.manifolds.maps.steps")
    manifold = tm.Stiefel(retraction=tm.NewtonSchulz(2))
    x = manifold.random(4, 8, 4)
    v = manifold.tangent(x, torch.randn(4, 8, 4)) * torch.tensor([0, 1e-3, 1, 1e4])[:, None, None]
    with_values = manifold.retract(x, v)
    monkeypatch.setattr(orthonormal, "reads_values", lambda v: False)
    monkeypatch.setattr(orthonormal, "everywhere", None)
    assert torch.equal(manifold.retract(x, v), with_values)
    assert torch.equal(manifold.retract(x[:2], v[:2]), tm.maps.newton_schulz((x + v)[:2], 2))


@pytest.mark.parametrize(
    ("manifold", "shape"),
    [(M, (8, 4)) for M in exact(tm.Stiefel())]
    + [(M, (8, 8)) for M in exact(tm.SpecialOrthogonal())]
    + [(M, (8,)) for M in exact(tm.Sphere())],
    ids=label,
)
def test_huge_steps(manifold, shape):
    x = wander(manifold, shape, (30.0, 1e3, 1e4), 50)
    assert manifold.residual(x).max() <= bound(x, manifold)


@pytest.mark.parametrize(
    ("manifold", "shape"),
    [(M, (8, 4)) for M in exact(tm.Stiefel())]
    + [(M, (8, 8)) for M in exact(tm.SpecialOrthogonal())],
    ids=label,
)
def test_huge_steps_of_rank_one(manifold, shape):
    """The Gram matrix of such a step has a condition of 10^10 and more."""
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(x) for x in manifold.random(3, *shape, generator=generator)]
    for p in weights:
        tm.place_(p, manifold)
    optimizer = tm.optim.RiemannianSGD(weights, lr=1e4)
    for _ in range(20):
        for p, size in zip(weights, (1e-3, 1.0, 30.0), strict=True):
            left, right = (torch.randn(n, generator=generator) for n in shape)
            p.grad = size * torch.outer(left / left.norm(), right / right.norm())
        optimizer.step()
    x = torch.stack(weights).detach()
    assert manifold.residual(x).max() <= bound(x, manifold)


@pytest.mark.parametrize(("manifold", "shape"), ORTHOGONAL, ids=label)
@pytest.mark.parametrize(
    "optimizer", [tm.optim.RiemannianSGD, tm.optim.RiemannianAdam, tm.optim.RiemannianMuon]
)
def test_zero_and_rank_one_gradients(manifold, shape, optimizer):
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(x) for x in manifold.random(2, *shape, generator=generator)]
    for p in weights:
        tm.place_(p, manifold)
    before = weights[0].detach().clone()
    stepper = optimizer(weights, lr=1.0)
    for _ in range(5):
        weights[0].grad = torch.zeros(shape)
        weights[1].grad = torch.zeros(shape)
        weights[1].grad[(0,) * len(shape)] = 3.0
        stepper.step()
    x = torch.stack(weights).detach()
    assert torch.isfinite(x).all()
    assert manifold.residual(x).max() <= bound(x, manifold)
    assert torch.allclose(x[0], before, atol=1e-6)


@pytest.mark.parametrize("manifold", list(variants(tm.SymmetricPositiveDefinite())), ids=label)
def test_positive_definite_matrices(manifold):
    # Steps of a length in the metric: Adam divides the gradient by its norm.
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(x) for x in manifold.random(2, 16, 16, generator=generator)]
    for p in weights:
        tm.place_(p, manifold)
    groups = [{"params": [p], "lr": lr} for p, lr in zip(weights, (0.005, 0.05), strict=True)]
    optimizer = tm.optim.RiemannianAdam(groups, betas=(0.0, 0.0))
    for _ in range(300):
        for p in weights:
            p.grad = torch.randn(16, 16, generator=generator)
        optimizer.step()
    x = torch.stack(weights).detach()
    assert torch.equal(x, x.mT)
    assert (torch.linalg.eigvalsh(x.double()) > 0).all()


def test_fixed_rank():
    manifold = tm.FixedRank(3)
    x = wander(manifold, (16, 10), SIZES, 300)
    values = torch.linalg.svdvals(x.double())
    assert (values[..., 2] > 1e-3).all()
    assert (values[..., 3:] <= 1e-6 * values[..., :1]).all()


@pytest.mark.parametrize("optimizer", [tm.optim.RiemannianSGD, tm.optim.RiemannianAdam])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_have_a_float32_copy(dtype, optimizer):
    torch.manual_seed(0)
    manifold = tm.Stiefel()
    layer = nn.Linear(64, 64, bias=False)
    tm.constrain(layer, "weight", manifold, how="riemannian")
    wide = nn.Parameter(layer.weight.detach().clone())
    tm.place_(wide, manifold)
    layer.to(dtype)
    half = optimizer(layer, lr=1e-3)
    full = optimizer([wide], lr=1e-3)
    for _ in range(200):
        layer.weight.grad = torch.randn(64, 64).to(dtype)
        wide.grad = layer.weight.grad.float()
        half.step()
        full.step()
    assert layer.weight.dtype == dtype
    assert manifold.residual(layer.weight.detach()) <= 10 * torch.finfo(dtype).eps * 8
    # Steps too short for the dtype are not lost.
    master = half.state[layer.weight]["master"]
    assert torch.equal(master.to(dtype), layer.weight)
    assert manifold.residual(master) <= bound(master, manifold)
    # It started at the point nearest to the rounded weight, and went the same way.
    assert (master - wide).abs().max() <= 4 * torch.finfo(dtype).eps

    again = optimizer(layer, lr=1e-3)
    again.load_state_dict(half.state_dict())
    assert torch.equal(again.state[layer.weight]["master"], master)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(64))
    layer.weight.grad = torch.zeros(64, 64, dtype=dtype)
    again.zero_grad(set_to_none=False)
    tm.optim.RiemannianSGD(layer, lr=1.0).step()
    assert torch.equal(layer.weight, torch.eye(64, dtype=dtype))


def test_an_assigned_half_precision_weight_is_noticed():
    layer = nn.Linear(8, 8, bias=False)
    tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian")
    layer.bfloat16()
    optimizer = tm.optim.RiemannianSGD(layer, lr=1.0, momentum=0.5)
    layer.weight.grad = torch.randn(8, 8).bfloat16()
    optimizer.step()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(8))
    optimizer.state[layer.weight]["momentum_buffer"].zero_()
    layer.weight.grad = torch.zeros(8, 8).bfloat16()
    optimizer.step()
    assert torch.equal(layer.weight, torch.eye(8).bfloat16())


def test_complex_weights():
    manifold = tm.Stiefel()
    x = manifold.random(6, 3, dtype=torch.complex128)
    target = manifold.random(6, 3, dtype=torch.complex128)
    for optimizer, lr in ((tm.optim.RiemannianSGD, 0.3), (tm.optim.RiemannianAdam, 0.05)):
        p = nn.Parameter(x.clone())
        tm.place_(p, manifold)
        stepper = optimizer([p], lr=lr)
        losses = []
        for _ in range(100):
            stepper.zero_grad()
            loss = (p - target).abs().pow(2).sum()
            loss.backward()
            stepper.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] / 2
        assert manifold.residual(p.detach()) < 1e-13
