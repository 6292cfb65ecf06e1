"""The other libraries, each with its best settings; the only file here that imports them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import metadata

import geotorch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import parametrize as torch_parametrize

__all__ = [
    "geoopt_sgd",
    "geotorch_orthogonal",
    "has",
    "pogo",
    "torch_adam",
    "torch_cached",
    "torch_muon",
    "torch_orthogonal",
    "torch_register",
    "versions",
]

DISTRIBUTIONS = ("torch", "geotorch", "geoopt", "pogo-torch")


@contextmanager
def _quietly() -> Iterator[None]:
    """Ignore warnings: importing some peers uses names that newer versions of torch deprecate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def has(module: str) -> bool:
    """Whether an optional peer is installed."""
    return importlib.util.find_spec(module) is not None


def versions() -> dict[str, str]:
    """The versions of the peers; they belong to every figure."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def torch_cached() -> AbstractContextManager[object]:
    """The cache of the parametrizations of torch and geotorch."""
    return torch_parametrize.cached()


def torch_register(module: nn.Module, name: str, parametrization: nn.Module) -> nn.Module:
    """Register a parametrization with torch's layer."""
    return torch_parametrize.register_parametrization(module, name, parametrization)


def torch_orthogonal(
    layer: nn.Module, map: str | None = None, base: bool = True, name: str = "weight"
) -> nn.Module:
    """`torch.nn.utils.parametrizations.orthogonal`.

    Args:
        layer: changed in place and returned.
        map: `"matrix_exp"`, `"cayley"`, `"householder"`, or torch's choice for the shape.
        base: keep an `n x n` base point (torch's default).
        name: name of the weight.
    """
    return parametrizations.orthogonal(layer, name, map, use_trivialization=base)


def geotorch_orthogonal(layer: nn.Module, map: str = "expm", name: str = "weight") -> nn.Module:
    """`geotorch.orthogonal` with `"expm"` (its default) or `"cayley"`."""
    return geotorch.orthogonal(layer, name, triv=map)


def geoopt_sgd(
    points: Iterable[Tensor], canonical: bool, lr: float, momentum: float
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """Geoopt's Riemannian SGD on Stiefel, and its parameters.

    Args:
        points: `(*batch, n, p)` each, copied.
        canonical: geoopt's default manifold (canonical metric, its Cayley retraction), or the
            Euclidean one (QR).
        lr: learning rate.
        momentum: momentum factor.
    """
    with _quietly():
        import geoopt

    manifold = geoopt.Stiefel(canonical=canonical)
    parameters = [geoopt.ManifoldParameter(x.clone(), manifold=manifold) for x in points]
    return geoopt.optim.RiemannianSGD(parameters, lr=lr, momentum=momentum), parameters


def pogo(
    points: Iterable[Tensor], lr: float, momentum: float
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """POGO with momentum SGD inside, and its parameters.

    Args:
        points: `(batch, n, p)` each, the shape that POGO takes; copied.
        lr: learning rate.
        momentum: momentum factor.
    """
    with _quietly():
        from pogo import POGO, base

    parameters: list[Tensor] = [nn.Parameter(x.clone()) for x in points]
    return POGO(parameters, base.SGD(momentum=momentum), lr, rows=False), parameters


def torch_adam(points: Iterable[Tensor], lr: float) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """`torch.optim.Adam`, fused, on ordinary copies of the points."""
    parameters: list[Tensor] = [nn.Parameter(x.clone()) for x in points]
    return torch.optim.Adam(parameters, lr=lr, fused=True), parameters


def torch_muon(
    points: Iterable[Tensor], lr: float, momentum: float
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """`torch.optim.Muon` without weight decay, on ordinary copies of the points."""
    parameters: list[Tensor] = [nn.Parameter(x.clone()) for x in points]
    optimizer = torch.optim.Muon(parameters, lr=lr, momentum=momentum, weight_decay=0)
    return optimizer, parameters
