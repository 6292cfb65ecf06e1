"""Products in blocks equal the whole products, and are used only without derivatives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import gram_residual, triangular

# Not a multiple of the block, so that the last one is short.
P = 300


def _square(x: Tensor) -> Tensor:
    return x[..., :P, :]


PRODUCTS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]]
PRODUCTS = {
    "gram_excess": (
        lambda x, y: triangular.gram_excess(x),
        lambda x, y: x.mH @ x - torch.eye(P),
    ),
    "skew_square": (
        lambda x, y: triangular.skew_square(_square(x) - _square(x).mH),
        lambda x, y: (_square(x) - _square(x).mH) @ (_square(x) - _square(x).mH),
    ),
    "upper_product": (
        lambda x, y: triangular.upper_product(x, y).triu(),
        lambda x, y: (x.mH @ y).triu(),
    ),
    "times_upper": (
        lambda x, y: triangular.times_upper(x, _square(y).triu()),
        lambda x, y: x @ _square(y).triu(),
    ),
    "times_upper_adjoint": (
        lambda x, y: triangular.times_upper_adjoint(x, _square(y).triu()),
        lambda x, y: x @ _square(y).triu().mH,
    ),
}
over_products = pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS.keys())
Pair = tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]


@over_products
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("batch", [(), (2,)], ids=str)
def test_blocks_make_the_whole_product(
    product: Pair, dtype: torch.dtype, transposed: bool, batch: tuple[int, ...]
) -> None:
    x, y = torch.randn(2, *batch, 350, P, dtype=dtype)
    if transposed:
        x, y = (z.mT.contiguous().mT for z in (x, y))
    blocks, whole = product
    with torch.no_grad():
        assert triangular._in_blocks(x)
        torch.testing.assert_close(blocks(x, y), whole(x, y), rtol=1e-12, atol=1e-12)


@over_products
def test_nothing_in_blocks_is_differentiated(product: Pair) -> None:
    x, y = torch.randn(2, 310, P, dtype=torch.float64)
    blocks, whole = product
    x.requires_grad_()
    g = torch.randn_like(whole(x, y).detach())
    torch.testing.assert_close(
        *(torch.autograd.grad(f(x, y), x, g) for f in (blocks, whole)), rtol=1e-10, atol=1e-10
    )
    x.requires_grad_(False)
    with torch.no_grad():
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, y)
            tangents = [forward_ad.unpack_dual(f(dual, y)).tangent for f in (blocks, whole)]
        torch.testing.assert_close(*tangents, rtol=1e-10, atol=1e-10)
        mapped = [torch.func.vmap(f, (0, None))(torch.stack([x, y]), y) for f in (blocks, whole)]
    torch.testing.assert_close(*mapped, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(64, 32), (600, 300), (300, 300), (1, 1), (50, 1)], ids=str)
@pytest.mark.parametrize("size", [1e-3, 0.03, 0.1, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("rank_one", [False, True])
def test_qr_of_steps_of_every_length(shape: tuple[int, int], size: float, rank_one: bool) -> None:
    """Steps of all lengths in float32 give the factor and the gradient of float64."""
    n, p = shape
    x = maps.qr(torch.randn(n, p, dtype=torch.float64))
    z = torch.randn(n, 1) @ torch.randn(1, p) if rank_one else torch.randn(n, p)
    z = size * z / torch.linalg.matrix_norm(z, ord=2)
    g = torch.randn(n, p)
    eps = torch.finfo(torch.float32).eps
    x = maps.polar(x.float())
    free = [z.clone().requires_grad_(), z.double().requires_grad_()]
    y, expected = (maps.projected_qr_step(x.to(v.dtype), v) for v in free)
    assert bool(gram_residual(y) <= 10 * eps * p**0.5)
    assert bool((y - expected).norm() <= 10 * eps * p**0.5)
    gradient, exact = (
        torch.autograd.grad(q, v, g.to(v.dtype))[0]
        for q, v in zip((y, expected), free, strict=True)
    )
    assert float((gradient - exact).norm()) <= 10 * eps * float(g.norm())
    v = z - x @ (x.mT @ z + z.mT @ x) / 2
    y = maps.qr_step(x, v)
    assert float(gram_residual(y)) <= 10 * eps * p**0.5
    expected = maps.qr(x.double() + v.double())
    assert float((y - expected).norm()) <= 10 * eps * p**0.5
