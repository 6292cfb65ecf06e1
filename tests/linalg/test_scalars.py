"""Entire functions of a square: values and derivatives, by their own rule and under torch.func."""

import pytest
import torch

from torchmanifold.manifolds.linalg import asinhc, cos_sinc, cosh_sinhc

F64 = torch.float64
SQUARES = torch.tensor([1e-3, 0.3, 0.99, 1.01, 4.0, 60.0], dtype=F64)
both = pytest.mark.parametrize("function", [cos_sinc, cosh_sinhc])


@both
def test_values_and_derivatives(function):
    t = SQUARES.clone().requires_grad_()
    r = SQUARES.sqrt()
    cos, sin = (r.cos(), r.sin()) if function is cos_sinc else (r.cosh(), r.sinh())
    torch.testing.assert_close(function(SQUARES), (cos, sin / r), rtol=1e-15, atol=0)
    assert torch.autograd.gradcheck(function, t, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, t)


def test_asinhc():
    t = torch.tensor([1e-5, 9e-3, 1.1e-2, 0.3, 50.0], dtype=F64, requires_grad=True)
    r = t.detach().sqrt()
    torch.testing.assert_close(asinhc(t.detach()), r.asinh() / r, rtol=1e-15, atol=0)
    assert torch.autograd.gradcheck(asinhc, t, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(asinhc, t)
    for square in (0.0, 9e-3, 0.5):
        x = torch.tensor(square, dtype=F64)
        plain = torch.autograd.functional.hessian(asinhc, x)
        for outer in (torch.func.jacfwd, torch.func.jacrev):
            for inner in (torch.func.jacfwd, torch.func.jacrev):
                torch.testing.assert_close(outer(inner(asinhc))(x), plain)


@both
@pytest.mark.parametrize("order", range(4))
def test_derivatives_at_zero(function, order):
    sign = 1 if function is cos_sinc else -1
    for which, expected in enumerate(
        ((1, -1 / 2, 1 / 12, -1 / 120), (1, -1 / 6, 1 / 60, -1 / 840))
    ):
        t = torch.zeros((), dtype=F64, requires_grad=True)
        value = function(t)[which]
        for _ in range(order):
            (value,) = torch.autograd.grad(value, t, create_graph=True)
        assert abs(value.item() - sign**order * expected[order]) < 1e-15


@both
@pytest.mark.parametrize("square", [0.0, 1e-3, 0.5, 3.0])
def test_every_mix_of_transforms_gives_the_same_second_derivative(function, square):
    t = torch.tensor(square, dtype=F64)
    plain = torch.autograd.functional.hessian(lambda t: function(t)[1], t)
    for outer in (torch.func.jacfwd, torch.func.jacrev):
        for inner in (torch.func.jacfwd, torch.func.jacrev):
            torch.testing.assert_close(outer(inner(lambda t: function(t)[1]))(t), plain)


@both
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_squares_that_overflow_or_are_negative_by_rounding(function, dtype):
    eps = torch.finfo(dtype).eps
    values = function(torch.tensor([0.0, -eps], dtype=dtype))
    torch.testing.assert_close(torch.stack(values), torch.ones(2, 2, dtype=dtype))
    if function is cos_sinc:
        assert all(x.isfinite().all() for x in cos_sinc(torch.tensor([torch.inf], dtype=dtype)))
