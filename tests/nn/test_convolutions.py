"""Convolutions as operators: their spectral norm, from their values."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, pad

import torchmanifold as tm
from torchmanifold.nn.orthogonal_conv import orthonormal_columns

F64 = torch.float64


def operator(layer, shape):
    """The matrix of a linear layer without bias on images of a shape, row by row of its adjoint."""
    basis = torch.eye(math.prod(shape), dtype=F64).unflatten(-1, shape)
    with torch.no_grad():
        return layer(basis).flatten(1).mT


def overlaps(kernel, stride, dilation):
    """The largest number of patches that contain a pixel, in one direction."""
    return -(-kernel // (stride // math.gcd(stride, dilation)))


GEOMETRY = [(3, 1, 1), (3, 2, 1), (2, 2, 1), (3, 3, 1), (3, 2, 2)]
over_geometry = pytest.mark.parametrize(("kernel", "stride", "dilation"), GEOMETRY)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2])
@over_geometry
def test_the_overlap_of_patches_bounds_the_operator(kind, groups, kernel, stride, dilation):
    """`||operator|| <= overlap` with orthonormal rows of `(out, in kh kw)`.

    The operator of a transposed convolution is the adjoint of such an operator, with its kernel as
    `(in, out kh kw)`; PyTorch keeps the dimension `in` first.
    """
    torch.manual_seed(0)
    size = {"kernel_size": kernel, "stride": stride, "dilation": dilation, "groups": groups}
    conv = kind(4, 4, bias=False, dtype=F64, **size)
    M = tm.Flattened(tm.Transposed(tm.Stiefel()), 4)
    tm.constrain(conv, "weight", M if groups == 1 else tm.Blocks(M, groups))
    values = torch.linalg.svdvals(operator(conv, (4, 9, 9)))
    bound = overlaps(kernel, stride, dilation)
    assert values[0] <= bound * (1 + 1e-12)
    if bound == 1:
        # Patches do not overlap: all singular values are 1, except for pixels in no patch.
        assert ((values - 1).abs().minimum(values) < 1e-12).all() and values[0] > 0.99
    else:
        assert values[0] > 1.05  # the operator is not orthogonal


@over_geometry
def test_a_transposed_convolution_by_its_output_channels_is_bounded_by_the_kernel(
    kernel, stride, dilation
):
    """`flatten=True` takes the matrix `(out, in kh kw)` here too, as PyTorch's `spectral_norm`."""
    torch.manual_seed(0)
    size = {"kernel_size": kernel, "stride": stride, "dilation": dilation}
    conv = nn.ConvTranspose2d(4, 4, bias=False, dtype=F64, **size)
    tm.constrain(conv, "weight", tm.Stiefel(), flatten=True)
    norm = torch.linalg.matrix_norm(operator(conv, (4, 9, 9)), 2)
    assert 1.05 < norm <= kernel


SIZES = [(3, 5, 3, 1), (5, 3, 3, 1), (4, 4, 2, 1), (2, 3, 3, 2), (2, 8, 1, 2), (1, 1, 3, 1)]


@pytest.mark.parametrize(("into", "out", "kernel", "stride"), SIZES)
@pytest.mark.parametrize("image", [(4, 6), (5, 7), (3, 3)])
def test_the_orthogonal_convolution_is_an_orthogonal_operator(into, out, kernel, stride, image):
    torch.manual_seed(0)
    conv = tm.nn.OrthogonalConv2d(into, out, kernel, stride, bias=False, dtype=F64)
    with torch.no_grad():
        conv.weight.mul_(10)  # wherever training may have led
    matrix = operator(conv, (into, *(stride * n for n in image)))
    values = torch.linalg.svdvals(matrix)
    torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=1e-12)


def test_it_is_the_circular_convolution_with_its_kernel_and_a_bias():
    torch.manual_seed(0)
    conv = tm.nn.OrthogonalConv2d(2, 3, dtype=F64)
    nn.init.normal_(conv.bias)
    x = torch.randn(4, 2, 5, 6, dtype=F64)
    padded = pad(x, (0, 5, 0, 4), mode="circular")
    expected = conv2d(padded, conv.kernel(5, 6), conv.bias)
    torch.testing.assert_close(conv(x), expected)
    torch.testing.assert_close(conv(x[0]), expected[0])


def test_a_small_weight_is_nearly_minus_the_skew_part_of_its_convolution():
    """`2 (I + A)^-1 - I` is `I - 2 A` to first order, `A` that of the weight minus its adjoint."""
    torch.manual_seed(0)
    conv = tm.nn.OrthogonalConv2d(3, 3, bias=False, dtype=F64)
    with torch.no_grad():
        conv.weight.mul_(1e-5)
    plain = nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular", bias=False, dtype=F64)
    plain.weight = conv.weight
    w, eye = operator(plain, (3, 4, 5)), torch.eye(60, dtype=F64)
    first_order = eye - 2 * (w - w.mT)
    torch.testing.assert_close(operator(conv, (3, 4, 5)), first_order, rtol=0, atol=1e-8)


def test_it_has_derivatives_and_trains():
    torch.manual_seed(0)
    conv = tm.nn.OrthogonalConv2d(2, 3, 2, dtype=F64)
    x = torch.randn(1, 2, 3, 4, dtype=F64, requires_grad=True)

    def output(weight, bias, x):
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(output, (conv.weight, conv.bias, x))
    conv = tm.nn.OrthogonalConv2d(2, 2, bias=False)
    target = tm.nn.OrthogonalConv2d(2, 2, bias=False).requires_grad_(False)
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.05)
    x, losses = torch.randn(64, 2, 6, 6), []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (conv(x) - target(x)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    torch.testing.assert_close(conv(x).norm(), x.norm())


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 1), (1, 1)])
@pytest.mark.parametrize("dtype", [F64, torch.complex128])
def test_cayley_of_any_matrix(shape, dtype):
    torch.manual_seed(0)
    for size in (1e-3, 1.0, 1e3):
        q = orthonormal_columns(size * torch.randn(2, *shape, dtype=dtype))
        q = q if shape[0] >= shape[1] else q.mH
        eye = torch.eye(q.shape[-1], dtype=dtype).expand(2, -1, -1)
        torch.testing.assert_close(q.mH @ q, eye, rtol=0, atol=1e-9)


def test_precisions():
    torch.manual_seed(0)
    conv, x = tm.nn.OrthogonalConv2d(2, 4), torch.randn(1, 2, 4, 4)
    expected = conv(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(conv(x), expected)
    half = conv.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.05, atol=0.05)


def test_what_it_refuses():
    for name in ("in_channels", "out_channels", "kernel_size", "stride"):
        for size in (0, 1.5, True):
            sizes = {"in_channels": 2, "out_channels": 2, name: size}
            with pytest.raises(ValueError, match=f"{name} must be a positive integer, got {size}"):
                tm.nn.OrthogonalConv2d(**sizes)
    conv = tm.nn.OrthogonalConv2d(2, 2, stride=2)
    for shape in ((1, 3, 6, 6), (1, 2, 6, 7), (6, 6)):
        with pytest.raises(ValueError, match="multiples of 2, got the shape"):
            conv(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"an image of 2 x 3 .* smaller than the kernel, 3 x 3"):
        conv(torch.zeros(1, 2, 4, 6))
    assert "2, 2, kernel_size=3, stride=2" in repr(conv)
