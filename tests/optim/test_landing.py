"""Landing: the field, its step, and the bound that it states."""

import copy
import io

import pytest
import torch
from mixed import Mixed, batch
from torch import nn

import torchmanifold as tm
from torchmanifold.optim.landing import landing_step

F64 = torch.float64
MANIFOLDS = [
    (tm.Stiefel(), (8, 4)),
    (tm.Stiefel(), (6, 6)),
    (tm.SpecialOrthogonal(), (5, 5)),
    (tm.Transposed(tm.Stiefel()), (3, 7)),
    (tm.Flattened(tm.Transposed(tm.Stiefel())), (4, 3, 2, 2)),
    (tm.Blocks(tm.SpecialOrthogonal(), 3), (12, 4)),
    (tm.Sphere(), (6,)),
    (tm.Scaled(tm.Stiefel(), 2.0), (8, 4)),
]


def weight(manifold, shape, dtype=torch.float32, seed=0):
    x = manifold.random(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    p = nn.Parameter(x)
    tm.place_(p, manifold)
    return p


def off_by(d, n=8, p=4):
    """A matrix with `||x'x - I||_F = d`."""
    x = tm.Stiefel().random(n, p, dtype=F64)
    excess = torch.randn(p, p, dtype=F64)
    excess = excess + excess.mT
    excess *= d / excess.norm()
    return x @ torch.linalg.cholesky(torch.eye(p, dtype=F64) + excess).mT


def test_the_field_against_the_definition():
    """With the `n x n` matrix of the paper, whose two parts are orthogonal."""
    x, g = off_by(0.3), torch.randn(8, 4, dtype=F64)
    rotation = (g @ x.mT - x @ g.mT) / 2 @ x
    normal = x @ (x.mT @ x - torch.eye(4, dtype=F64))
    assert abs((rotation * normal).sum()) < 1e-13
    h = 1e-3
    expected = x - h * (rotation + 0.7 * normal)
    assert torch.allclose(landing_step(x, g, h, 0.7, 0.5), expected, rtol=0, atol=1e-14)


def test_on_the_manifold_it_is_a_riemannian_gradient():
    g = torch.randn(8, 4, dtype=F64)
    for manifold, share in ((tm.Stiefel(metric=tm.Canonical()), 0.5), (tm.Stiefel(), 1.0)):
        n = 8 if share == 0.5 else 4
        x = manifold.random(n, 4, dtype=F64)
        moved = x - landing_step(x, g[:n], 1e-3, 1.0, 0.5)
        assert torch.allclose(moved, 1e-3 * share * manifold.gradient(x, g[:n]), atol=1e-15)


@pytest.mark.parametrize("safety", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("attraction", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_safe_step_stays_safe_and_a_longer_one_need_not(safety, attraction, size, share):
    x = torch.stack([off_by(share * safety) for _ in range(20)])
    g = size * torch.randn(8, 4, dtype=F64)
    for lr in (1e-4, 0.1, 10.0, 1e4):
        y = landing_step(x, g, lr, attraction, safety)
        assert tm.Stiefel().residual(y).max() <= safety * (1 + 1e-12)


@pytest.mark.parametrize("attraction", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("scale", [1e-2, 0.5, 3.0, 1e4])
def test_it_lands_from_anywhere(scale, attraction):
    """From matrices of full rank beyond the bound, the residual falls at every step."""
    M, generator = tm.Stiefel(), torch.Generator().manual_seed(0)
    x = scale * torch.randn(10, 8, 4, generator=generator, dtype=F64)
    x[0] = off_by(0.95)
    for _ in range(200):
        before = M.residual(x)
        g = torch.randn(10, 8, 4, generator=generator, dtype=F64)
        x = landing_step(x, g, 20.0, attraction, 0.5)
        d = M.residual(x)
        assert (d < before.clamp_min(0.5 + 1e-12)).all()
    assert d.max() <= 0.5 + 1e-12


def test_the_safe_step_is_no_shorter_than_it_must_be():
    """For a field of rank one from the manifold, the bound is attained."""
    x = torch.eye(6, 1, dtype=F64)
    g = torch.zeros(6, 1, dtype=F64)
    g[1] = 3.0
    y = landing_step(x, g, 1e4, 0.01, 0.5)
    assert tm.Stiefel().residual(y) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize(("manifold", "shape"), MANIFOLDS, ids=str)
@pytest.mark.parametrize("lr", [0.01, 1.0, 1e4])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True}], ids=str)
def test_the_bound_is_kept(manifold, shape, lr, options):
    """The bound holds for any gradients: random, of rank one, zero, huge."""
    p = weight(manifold, shape)
    optimizer = tm.optim.Landing([p], lr=lr, safety=0.3, **options)
    generator = torch.Generator().manual_seed(1)
    for i in range(200):
        p.grad = torch.randn(shape, generator=generator) * (1, 0, 1e-3, 1e6)[i % 4]
        if i % 3 == 0:
            p.grad.view(-1)[1:] = 0
        optimizer.step()
        assert manifold.residual(p.detach()).max() <= 0.3 + 1e-5


@pytest.mark.parametrize(("manifold", "shape"), MANIFOLDS, ids=str)
def test_it_lands(manifold, shape):
    """Procrustes: the loss goes to its minimum, and the residual to zero."""
    p = weight(manifold, shape, F64)
    target = manifold.random(*shape, generator=torch.Generator().manual_seed(5), dtype=F64)
    optimizer = tm.optim.Landing([p], lr=0.2, momentum=0.5)
    worst = 0.0
    for _ in range(800):
        optimizer.zero_grad()
        loss = (p - target).square().sum() / 2
        loss.backward()
        optimizer.step()
        worst = max(worst, float(manifold.residual(p.detach()).max()))
    assert 1e-3 < worst <= 0.5
    assert manifold.residual(p.detach()).max() < 1e-8
    x = manifold.project(p.detach())
    assert manifold.norm(x, manifold.gradient(x, x - target)).max() < 1e-6


def test_residual_in_passing_is_what_is_stated():
    """Fields of norm `a` leave about `h a^2 / (2 attraction)`."""
    h, attraction = 0.01, 1.0
    x, generator = off_by(0.0, 32, 8), torch.Generator().manual_seed(0)
    for _ in range(2000):
        g = torch.randn(32, 8, generator=generator, dtype=F64)
        a = (x - landing_step(x, g, 1e-9, attraction, 0.5)).norm() / 1e-9
        x = landing_step(x, g, h, attraction, 0.5)
    stated = h * float(a) ** 2 / (2 * attraction)
    # The Frobenius norm of the Gram matrix of many directions is less than the norm squared.
    assert stated / 6 <= tm.Stiefel().residual(x) <= 1.5 * stated


def test_complex_weights():
    manifold = tm.Stiefel()
    p = weight(manifold, (5, 3), torch.complex128)
    target = manifold.random(5, 3, dtype=torch.complex128)
    optimizer = tm.optim.Landing([p], lr=0.3, safety=0.2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = (p - target).abs().square().sum()
        loss.backward()
        optimizer.step()
        assert manifold.residual(p.detach()) <= 0.2 + 1e-12
    assert loss < 1e-6
    assert manifold.residual(p.detach()) < 1e-8


def test_rotations_stay_rotations():
    manifold = tm.SpecialOrthogonal()
    p = weight(manifold, (4, 4))
    optimizer = tm.optim.Landing([p], lr=1e4, safety=0.9)
    for _ in range(300):
        p.grad = torch.randn(4, 4)
        optimizer.step()
        assert torch.linalg.det(p.detach()) > 0


@pytest.mark.filterwarnings("ignore:.*weights is on a manifold")
def test_options_that_make_no_sense_are_refused():
    layer = nn.Linear(3, 3)
    for options, message in (
        ({"attraction": 0.0}, "attraction must be positive, got 0.0"),
        ({"safety": 1.0}, r"safety must be in \(0, 1\), got 1.0"),
        ({"nesterov": True}, "momentum must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            tm.optim.Landing(layer, **options)
    spd = tm.constrain(nn.Linear(3, 3), "weight", tm.SymmetricPositiveDefinite(), how="riemannian")
    with pytest.raises(ValueError, match="landing needs orthonormal columns: Stiefel"):
        tm.optim.Landing(spd, lr=0.1)
    late = tm.optim.Landing(layer, lr=0.1)
    tm.constrain(layer, "weight", tm.SymmetricPositiveDefinite(), how="riemannian")
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 3)).sum().backward()
    with pytest.raises(ValueError, match="landing needs orthonormal columns: Stiefel"):
        late.step()
    assert torch.equal(layer.weight, before)


def test_a_checkpoint_off_the_manifold_goes_on():
    """Weights within the stated residual are loaded as they are; others are refused."""
    torch.manual_seed(1)
    model = Mixed()
    optimizer = tm.optim.Landing(model, lr=0.3, momentum=0.9)

    def run(model, optimizer, start):
        for i in range(start, start + 4):
            optimizer.zero_grad()
            model(batch(model, i)).pow(2).sum().mul(10).backward()
            optimizer.step()

    run(model, optimizer, 0)
    assert 1e-2 < max(model.residuals()) <= 0.5 + 1e-5
    file = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    torch.manual_seed(2)
    other = Mixed()
    with pytest.raises(RuntimeError, match="not on"):
        copy.deepcopy(other).load_state_dict(weights)
    resumed = tm.optim.Landing(other, lr=0.3, momentum=0.9)
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    run(model, optimizer, 4)
    run(other, resumed, 4)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
    weights["unit"] = 2 * weights["unit"]
    with pytest.raises(RuntimeError, match="not on Sphere"):
        other.load_state_dict(weights)


def test_zero_learning_rate_of_a_tensor_and_of_a_number():
    for lr in (0.0, torch.tensor(0.0), torch.tensor([0.0])):
        p = weight(tm.Stiefel(), (8, 4))
        before = p.detach().clone()
        optimizer = tm.optim.Landing([p], lr=lr, momentum=0.5)
        p.grad = torch.randn(8, 4)
        optimizer.step()
        assert torch.equal(p, before)


def test_bfloat16_keeps_a_float32_master():
    p = weight(tm.Stiefel(), (32, 16), torch.float32)
    half = nn.Parameter(p.detach().bfloat16())
    tm.place_(half, tm.Stiefel())
    optimizer = tm.optim.Landing([half], lr=1e-4)
    for _ in range(50):
        half.grad = torch.randn(32, 16).bfloat16()
        optimizer.step()
    master = optimizer.state[half]["master"]
    assert torch.equal(master.bfloat16(), half)
    assert tm.Stiefel().residual(half.detach()) <= tm.Stiefel().tolerance((32, 16), half.dtype)
