"""The table for the tests of the maps' modules: each module with a point of its image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import skew, sym


@dataclass(frozen=True)
class MapCase:
    """A module and points that its right inverse accepts.

    Args:
        make: makes a new module.
        point: makes a point of its image, with the given batch dimensions, in float64 or
            complex128.
        complex: whether it has a complex form.
    """

    make: Callable[[], nn.Module]
    point: Callable[..., Tensor]
    complex: bool = True


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def orthonormal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return maps.qr(normal(*shape, dtype=dtype))


def rotation(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return maps.expm_skew(skew(normal(*shape, dtype=dtype)) / 2)


def positive(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return maps.spd_exp(normal(*shape, dtype=dtype) / 2)


def _at(function: Callable[..., Tensor], *shape: int) -> Callable[..., Tensor]:
    return lambda *batch, dtype=torch.float64: function(*batch, *shape, dtype=dtype)


def _symmetric(*shape: int, dtype: torch.dtype) -> Tensor:
    return sym(normal(*shape, dtype=dtype))


def _skew(*shape: int, dtype: torch.dtype) -> Tensor:
    return skew(normal(*shape, dtype=dtype))


def _bounded(*shape: int, dtype: torch.dtype) -> Tensor:
    return maps.clamp_singular_values(normal(*shape, dtype=dtype), 0.5, 0.9)


def _invertible(*shape: int, dtype: torch.dtype) -> Tensor:
    return rotation(*shape, dtype=dtype) @ positive(*shape, dtype=dtype)


def _unit_determinant(*shape: int, dtype: torch.dtype) -> Tensor:
    x = _invertible(*shape, dtype=dtype)
    return x / torch.linalg.det(x)[..., None, None] ** (1 / shape[-1])


def _stable(*shape: int, dtype: torch.dtype) -> Tensor:
    return normal(*shape, dtype=dtype) - 5 * torch.eye(shape[-1], dtype=dtype)


def _of_rank(*shape: int, dtype: torch.dtype) -> Tensor:
    *batch, n, p, r = shape
    return normal(*batch, n, r, dtype=dtype) @ normal(*batch, r, p, dtype=dtype)


def _semidefinite(*shape: int, dtype: torch.dtype) -> Tensor:
    return maps.Square()(normal(*shape, dtype=dtype))


def _doubly_stochastic(*shape: int, dtype: torch.dtype) -> Tensor:
    return maps.doubly_stochastic(normal(*shape, dtype=dtype))


def _constant(x: Tensor) -> Callable[..., Tensor]:
    return lambda *batch, dtype=torch.float64: x.to(dtype).expand(*batch, *x.shape).clone()


MAP_CASES: dict[str, MapCase] = {
    "exp rotation": MapCase(maps.MatrixExponential, _at(rotation, 4, 4)),
    "exp of skew": MapCase(lambda: maps.MatrixExponential(skew=True), _at(rotation, 4, 4)),
    "exp positive": MapCase(maps.MatrixExponential, _at(positive, 4, 4)),
    "exp identity": MapCase(maps.MatrixExponential, _constant(torch.eye(3))),
    "exp one by one": MapCase(maps.MatrixExponential, _constant(torch.eye(1))),
    "cayley": MapCase(maps.CayleyMap, _at(rotation, 4, 4)),
    "cayley one by one": MapCase(maps.CayleyMap, _constant(torch.eye(1))),
    "polar": MapCase(maps.Polar, _at(orthonormal, 5, 3)),
    "polar column": MapCase(maps.Polar, _at(orthonormal, 5, 1)),
    "qr": MapCase(maps.QR, _at(orthonormal, 5, 3)),
    "qr column": MapCase(maps.QR, _at(orthonormal, 5, 1)),
    "newton-schulz": MapCase(lambda: maps.NewtonSchulz(2), _at(orthonormal, 5, 3)),
    "householder": MapCase(maps.Householder, _at(orthonormal, 5, 3), complex=False),
    "householder square": MapCase(maps.Householder, _at(orthonormal, 4, 4), complex=False),
    "householder column": MapCase(maps.Householder, _at(orthonormal, 4, 1), complex=False),
    "householder identity": MapCase(maps.Householder, _constant(torch.eye(4, 2)), complex=False),
    "householder -identity": MapCase(maps.Householder, _constant(-torch.eye(4, 2)), complex=False),
    "spd exp": MapCase(maps.SpdExponential, _at(positive, 4, 4)),
    "spd exp one by one": MapCase(maps.SpdExponential, _at(positive, 1, 1)),
    "spd log": MapCase(maps.SpdLogarithm, _at(_symmetric, 4, 4)),
    "softplus": MapCase(maps.Softplus, _at(positive, 4, 4)),
    "square": MapCase(maps.Square, _at(positive, 4, 4)),
    "square of rank": MapCase(lambda: maps.Square(2), _at(_semidefinite, 5, 2)),
    "cholesky": MapCase(maps.Cholesky, _at(positive, 4, 4)),
    "low rank": MapCase(lambda: maps.LowRank(2), _at(_of_rank, 5, 4, 2)),
    "low rank wide": MapCase(lambda: maps.LowRank(2), _at(_of_rank, 3, 5, 1)),
    "fixed rank": MapCase(lambda: maps.FixedRank(2), _at(_of_rank, 5, 4, 2)),
    "fixed rank wide": MapCase(lambda: maps.FixedRank(1), _at(_of_rank, 3, 5, 1)),
    "semidefinite": MapCase(lambda: maps.PositiveSemidefinite(2), _at(_semidefinite, 5, 2)),
    "semidefinite of full rank": MapCase(lambda: maps.PositiveSemidefinite(4), _at(positive, 4, 4)),
    "spectral bound": MapCase(maps.SpectralBound, _at(_bounded, 5, 4)),
    "almost orthogonal": MapCase(lambda: maps.SpectralBound(0.5, 1.5), _at(_bounded, 4, 5)),
    "symmetric": MapCase(maps.Symmetric, _at(_symmetric, 4, 4)),
    "skew": MapCase(maps.Skew, _at(_skew, 4, 4)),
    "triangular": MapCase(
        maps.Triangular,
        lambda *batch, dtype=torch.float64: normal(*batch, 4, 4, dtype=dtype).tril(),
    ),
    "upper": MapCase(
        lambda: maps.Triangular(upper=True, diagonal=1),
        lambda *batch, dtype=torch.float64: normal(*batch, 4, 5, dtype=dtype).triu(1),
    ),
    "unit norm": MapCase(
        maps.UnitNorm, lambda *batch, dtype=torch.float64: orthonormal(*batch, 5, 1, dtype=dtype).mT
    ),
    "unit norm of all": MapCase(
        lambda: maps.UnitNorm((-2, -1)),
        lambda *batch, dtype=torch.float64: orthonormal(*batch, 6, 1, dtype=dtype).unflatten(
            -2, (2, 3)
        )[..., 0],
    ),
    "positive determinant": MapCase(
        maps.PositiveDeterminant, _at(_invertible, 4, 4), complex=False
    ),
    "unit determinant": MapCase(maps.UnitDeterminant, _at(_unit_determinant, 4, 4), complex=False),
    "hurwitz": MapCase(lambda: maps.Hurwitz(0.1), _at(_stable, 4, 4)),
    "doubly stochastic": MapCase(
        maps.DoublyStochastic,
        lambda *batch, dtype=torch.float64: maps.doubly_stochastic(
            normal(*batch, 4, 4, dtype=dtype)
        ),
        complex=False,
    ),
    "positive": MapCase(
        maps.Positive,
        lambda *batch, dtype=torch.float64: torch.rand(*batch, 2, 3, dtype=dtype) + 0.1,
        complex=False,
    ),
}
