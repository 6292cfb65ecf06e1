"""Phase retrieval: a complex unit vector from the moduli of its measurements."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds import Sphere
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem

__all__ = ["phase_retrieval"]


def _intensities(x: Tensor, rows: Tensor) -> Tensor:
    z = rows @ x
    return z.real.square() + z.imag.square()


def _loss(x: Tensor, rows: Tensor, intensities: Tensor) -> Tensor:
    return (_intensities(x, rows) - intensities).square().mean() / 4


@problem(
    Sphere(),
    title="Phase retrieval on the sphere of C^16",
    optimum="0, at the vector that was measured",
    reference="phase-retrieval",
)
def phase_retrieval(generator: torch.Generator, n: int = 16, ratio: int = 10) -> Instance:
    r"""Minimize `1/(4 m) sum_k (|a_k' x|^2 - y_k)^2` over the unit vectors `x` of C^n.

    `y_k = |a_k' s|^2` are m = ratio * n measurements of a unit vector `s` by standard normal
    vectors, without noise. The phase of `x` is free. With so many measurements random initial
    vectors lead to the solution with high probability.

    Source: Sun, Qu & Wright, A geometric analysis of phase retrieval, Found. Comput. Math. 18,
    2018.

    Args:
        generator: the generator of the initial vector.
        n: length of the vector.
        ratio: measurements for each entry.

    Example:
        >>> phase_retrieval.probe.initial.dtype
        torch.complex128
    """
    fixed = torch.Generator().manual_seed(0)
    rows = torch.randn(ratio * n, n, generator=fixed, dtype=torch.complex128)
    signal = Sphere().random(n, generator=fixed, dtype=torch.complex128)
    return Instance(
        data=(rows, _intensities(signal, rows)),
        loss=_loss,
        initial=Sphere().random(n, generator=generator, dtype=torch.complex128),
        exact=0.0,
        solution=signal,
    )
