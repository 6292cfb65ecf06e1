"""Compilation and function transforms of constrained modules."""

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, entries, label, variants
from torch import nn
from torch.func import functional_call, grad, vmap

import torchmanifold as tm

# Compiling is slow: one shape, and each retraction once.
VARIANTS = [
    (M, case.shapes[0])
    for case in (*CASES, *ALWAYS_COMPLEX)
    for M in variants(case.manifold)
    if M.metric == case.manifold.metric and (case.manifold == M or not hasattr(M, "manifold"))
]
over_variants = pytest.mark.parametrize(("M", "shape"), VARIANTS, ids=label)


class Holder(nn.Module):
    """A module whose output is its weight, times a number."""

    def __init__(self, M: tm.Manifold, shape: tuple[int, ...]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        dtype = entries(M, torch.float64)
        self.weight = nn.Parameter(M.random(*shape, generator=generator, dtype=dtype))
        tm.constrain(self, "weight", M)
        with torch.no_grad():
            v = self.parametrizations.weight.original
            v.copy_(0.1 * torch.randn(v.shape, generator=generator, dtype=dtype))

    def forward(self, factor: torch.Tensor) -> torch.Tensor:
        return factor * self.weight


@over_variants
def test_compiles_as_one_graph(M, shape):
    torch._dynamo.reset()
    holder = Holder(M, shape)
    v, two = holder.parametrizations.weight.original, torch.tensor(2.0, dtype=torch.float64)
    weights = torch.arange(v.numel()).to(v.dtype).reshape(shape)
    results = []
    for call in (holder, torch.compile(holder, fullgraph=True, backend="aot_eager")):
        out = call(two)
        (grad,) = torch.autograd.grad((out * weights).sum().real, v)
        results.append((out.detach(), grad))
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-9)


@over_variants
def test_function_transforms(M, shape):
    """`grad` through `functional_call` is autograd's gradient; `vmap` is the loop."""
    holder = Holder(M, shape)
    T = holder.parametrizations.weight[0]
    weights = torch.arange(T.base.numel(), dtype=torch.float64).reshape(shape)

    def loss(v: torch.Tensor) -> torch.Tensor:
        values = {"parametrizations.weight.original": v}
        out = torch.func.functional_call(holder, values, torch.ones((), dtype=torch.float64))
        return (out * weights).sum().real

    generator = torch.Generator().manual_seed(2)
    many = 0.1 * torch.randn(3, *shape, dtype=entries(M, torch.float64), generator=generator)
    each = torch.stack([T(v) for v in many])
    torch.testing.assert_close(torch.func.vmap(T)(many), each, rtol=1e-9, atol=1e-9)
    gradients = torch.func.vmap(torch.func.grad(loss))(many)
    for v, gradient in zip(many, gradients, strict=True):
        v = v.clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(v), v)
        torch.testing.assert_close(torch.func.grad(loss)(v), expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-7)


def test_gradients_for_each_sample():
    layer = tm.constrain(nn.Linear(5, 3).double(), "weight", tm.Stiefel())
    inputs = torch.randn(4, 5, dtype=torch.float64)
    v = layer.parametrizations.weight.original

    def loss(v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        out = torch.func.functional_call(layer, {"parametrizations.weight.original": v}, x)
        return out.square().sum()

    samples = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(v.detach(), inputs)
    for x, gradient in zip(inputs, samples, strict=True):
        (expected,) = torch.autograd.grad(layer(x).square().sum(), v)
        torch.testing.assert_close(gradient, expected)


def test_forward_mode_is_refused_not_zero():
    """Custom derivatives have no forward mode, and must raise: a zero tangent would be wrong."""
    T = tm.Trivialization(tm.Stiefel(), torch.eye(3, 2))
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.func.jvp(T, (torch.zeros(3, 2),), (torch.ones(3, 2),))


LINEAR = [(M, shape) for M, shape in VARIANTS if len(shape) == 2]


@pytest.mark.parametrize(("M", "shape"), LINEAR, ids=label)
def test_gradients_of_each_sample(M, shape):
    generator = torch.Generator().manual_seed(2)
    dtype = entries(M, torch.float64)
    layer = nn.Linear(shape[1], shape[0], dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(M.random(*shape, generator=generator, dtype=dtype))
    tm.constrain(layer, "weight", M)
    inputs = torch.randn(3, shape[1], dtype=dtype, generator=generator)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, parameters, (x,)).square().sum().real

    each = vmap(grad(loss), in_dims=(None, 0))(parameters, inputs)
    for i, x in enumerate(inputs):
        expected = torch.autograd.grad(layer(x).square().sum().real, list(layer.parameters()))
        for (name, _), g in zip(layer.named_parameters(), expected, strict=True):
            torch.testing.assert_close(each[name][i], g, rtol=1e-9, atol=1e-9)
