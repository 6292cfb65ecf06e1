"""OrthogonalConv2d: a convolution that is an orthogonal operator, by Cayley's map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

__all__ = ["OrthogonalConv2d", "orthonormal_columns"]

_HALF = (torch.float16, torch.bfloat16)


def orthonormal_columns(z: Tensor) -> Tensor:
    r"""Cayley's map of any matrix: orthonormal columns, or rows of a wide matrix.

    With `U` the first `p` rows of `Z`, `V` the others and `A = U - U^* + V^* V`, it is
    `(2 (I + A)^-1 - I; -2 V (I + A)^-1)`. The Hermitian part of `A` is `V^* V`, so `I + A` always
    has an inverse.

    Args:
        z: `(*batch, n, p)`, real or complex.

    Example:
        >>> import torch
        >>> from torchmanifold.nn.orthogonal_conv import orthonormal_columns
        >>> q = orthonormal_columns(torch.randn(5, 3))
        >>> torch.allclose(q.T @ q, torch.eye(3), atol=1e-5)
        True

    Source: Trockman & Kolter, Orthogonalizing convolutional layers with the Cayley transform,
    ICLR 2021, arXiv 2104.07167, section 4.2.
    """
    if z.shape[-2] < z.shape[-1]:
        return orthonormal_columns(z.mH).mH
    u, v = z.split([z.shape[-1], z.shape[-2] - z.shape[-1]], dim=-2)
    eye = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    twice = 2 * torch.linalg.inv_ex(eye + u - u.mH + v.mH @ v).inverse
    return torch.cat([twice - eye, -v @ twice], dim=-2)


class OrthogonalConv2d(nn.Module):
    r"""A convolution with circular padding that keeps norms: `||y|| = ||x||`, exactly.

    A circular convolution is a matrix between channels at each frequency of the image. Cayley's map
    of the matrices of `weight` gives matrices with orthonormal columns, and these form the
    operator. With at least as many output channels as input channels the operator is an isometry.
    With fewer, its adjoint is an isometry, and the operator keeps or shortens vectors. Orthonormal
    columns of the flattened kernel (`tm.constrain(conv, "weight", tm.Stiefel(), flatten=True)`) do
    not make the operator orthogonal where patches overlap: its norm can be as large as the kernel
    size.

    The kernel of the operator extends over the whole image, and decays away from its center; only
    the `weight` has the size `kernel_size`. A forward pass costs a discrete Fourier transform, and
    an inverse of a matrix of channels at each frequency.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: of the free weight, odd or even.
        stride: `s` turns each `s x s` patch of the input into channels, which keeps norms, and
            convolves the result: the kernel spans `s * kernel_size` pixels.
        bias: whether a number is added to each channel.
        device: of the weights.
        dtype: of the weights. Half precision is computed in float32, as under autocast.

    Shape:
        - input: `(batch, in_channels, height, width)`, or without the batch. Height and width are
          multiples of the stride; divided by it they are at least `kernel_size`.
        - output: `(batch, out_channels, height / stride, width / stride)`.

    Attributes:
        weight: `(out_channels, in_channels * stride^2, kernel_size, kernel_size)`, free.
        bias: `(out_channels,)`, or None.

    Raises:
        ValueError: for sizes that are not positive integers, and for an input of another shape.

    Source: Trockman & Kolter, Orthogonalizing convolutional layers with the Cayley transform,
    ICLR 2021, arXiv 2104.07167, sections 4.1 and 4.2.

    Example:
        >>> import torch, torchmanifold as tm
        >>> conv = tm.nn.OrthogonalConv2d(3, 16, bias=False)
        >>> x = torch.randn(2, 3, 8, 8)
        >>> y = conv(x)
        >>> y.shape, torch.allclose(y.norm(), x.norm())
        (torch.Size([2, 16, 8, 8]), True)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel_size,
            "stride": stride,
        }
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError(
                    f"OrthogonalConv2d: {name} must be a positive integer, got {size!r}"
                )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        shape = (out_channels, in_channels * stride**2, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights whose matrices at each frequency have norms near 1; no bias."""
        out, into, k, _ = self.weight.shape
        nn.init.normal_(self.weight, std=(max(out, into) * k * k) ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def transfer(self, height: int, width: int) -> Tensor:
        """The matrices `(height, width // 2 + 1, out, in)` at the frequencies of a real image."""
        k = self.kernel_size
        if min(height, width) < k:
            raise ValueError(
                f"OrthogonalConv2d: an image of {height} x {width} (after the stride) is smaller "
                f"than the kernel, {k} x {k}"
            )
        weight = self.weight.float() if self.weight.dtype in _HALF else self.weight
        padded = nn.functional.pad(weight, (0, width - k, 0, height - k))
        centered = padded.roll((-(k // 2), -(k // 2)), (-2, -1))
        # Layers of networks correlate; a correlation has the conjugate matrix at each frequency.
        spectrum = torch.fft.rfft2(centered).conj().permute(2, 3, 0, 1)
        return orthonormal_columns(spectrum)

    def kernel(self, height: int, width: int) -> Tensor:
        """The kernel of the operator `(out, in, height, width)`, its center at the place 0, 0."""
        transfer = self.transfer(height, width).permute(2, 3, 0, 1)
        return torch.fft.irfft2(transfer.conj(), s=(height, width))

    def forward(self, x: Tensor) -> Tensor:
        """The circular convolution of `x`, which keeps the norm before the bias is added."""
        s = self.stride
        shape = tuple(x.shape)
        if (
            len(shape) not in (3, 4)
            or shape[-3] != self.in_channels
            or any(n % s for n in shape[-2:])
        ):
            raise ValueError(
                f"OrthogonalConv2d: expected an input (batch, {self.in_channels}, height, width) "
                f"with height and width multiples of {s}, got the shape {shape}"
            )
        with torch.autocast(x.device.type, enabled=False):
            z = pixel_unshuffle(x, s) if s > 1 else x
            z = z.to(torch.float32 if self.weight.dtype in _HALF else self.weight.dtype)
            transfer = self.transfer(*z.shape[-2:])
            y = torch.einsum("hwoi,...ihw->...ohw", transfer, torch.fft.rfft2(z))
            y = torch.fft.irfft2(y, s=z.shape[-2:]).to(self.weight.dtype)
        return y if self.bias is None else y + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """The sizes, as `nn.Conv2d` prints them."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}" if self.stride != 1 else ""
        return text + (", bias=False" if self.bias is None else "")
