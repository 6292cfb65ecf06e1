"""Tall matrices with orthonormal columns: our default for the shape against torch's maps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

import torchmanifold as tm

from .benchmark import Piece, Settings
from .contenders import constrained, linear, loose, worst_residual
from .memory import CONSTRAIN, EVALUATE, peak_megabytes
from .peers import geotorch_orthogonal, torch_cached, torch_orthogonal
from .table import Target
from .timing import Contender, Work

__all__ = ["column_pieces", "long_pieces"]

# Shape -> how many times faster than torch's default, and than torch's best.
SHAPES = {(512, 128): (20.0, 8.0), (1024, 256): (60.0, 12.0), (2048, 256): (150.0, 40.0)}
LARGE = (4608, 512)
LONG = (30000, 50)

How = Literal["parametrized", "riemannian"]


def column_pieces(settings: Settings) -> Iterator[Piece]:
    """A layer's weight with orthonormal columns, forward and backward."""
    for shape, times in ({(24, 6): (1.0, 1.0)} if settings.quick else SHAPES).items():
        name = "columns {} x {}".format(*shape)
        yield Piece(name, partial(_columns, name, settings, *shape, *times))
    n, p = (40, 8) if settings.quick else LARGE
    name = f"columns {n} x {p}"
    yield Piece(name, partial(_large, name, settings, n, p))


def _columns(name: str, settings: Settings, n: int, p: int, default: float, best: float) -> Work:
    grads = [torch.randn(n, p, device=settings.device)]

    def layer() -> nn.Module:
        return nn.Linear(p, n, bias=False, device=settings.device)

    peers = {
        "torch default (householder)": torch_orthogonal(layer()),
        "torch householder, no base": torch_orthogonal(layer(), "householder", base=False),
        "torch cayley": torch_orthogonal(layer(), "cayley"),
        "torch matrix_exp": torch_orthogonal(layer(), "matrix_exp"),
        "geotorch cayley": geotorch_orthogonal(layer(), "cayley").to(settings.device),
    }
    targets = {"torch default (householder)": (Target.faster(default),)}
    return Work(
        name,
        [
            _ours(settings, n, p, grads),
            *(
                linear(peer, [loose(x)], torch_cached, grads, targets=targets.get(peer, ()))
                for peer, x in peers.items()
            ),
        ],
        product=lambda: grads[0].mT @ grads[0],
        best={"torch": Target.faster(best)},
    )


def _ours(
    settings: Settings, n: int, p: int, grads: list[Tensor], targets: tuple[Target, ...] = ()
) -> Contender:
    layer = constrained(n, p, tm.Stiefel(), settings.device)
    return linear("ours", [layer], tm.parametrize.cached, grads, ours=True, targets=targets)


def _large(name: str, settings: Settings, n: int, p: int) -> Work:
    grads = [torch.randn(n, p, device=settings.device)]
    ours = _ours(settings, n, p, grads, (Target("milliseconds", 1500), Target("weights", 10)))
    ours.weight_megabytes = 4e-6 * n * p
    ours.megabytes = lambda: peak_megabytes(EVALUATE, n, p)
    layer = nn.Linear(p, n, bias=False, device=settings.device)
    peer = loose(torch_orthogonal(layer, "cayley"))
    return Work(
        name,
        [ours, linear("torch cayley", [peer], torch_cached, grads)],
        product=lambda: grads[0].mT @ grads[0],
    )


def long_pieces(settings: Settings) -> Iterator[Piece]:
    """Constrain a long thin weight and make one step; no tensor may be of size `n x n`."""
    n, p = (60, 5) if settings.quick else LONG
    ways: tuple[How, ...] = ("parametrized", "riemannian")
    for how in ways:
        name = f"constrain {n} x {p} and one step, {how}"
        yield Piece(name, partial(_long, name, settings, n, p, how))


class _Start:
    """Constrain an existing weight, and make one step of gradient descent."""

    def __init__(self, settings: Settings, n: int, p: int, how: How) -> None:
        self.weight = torch.randn(n, p, device=settings.device) / n**0.5
        self.grad = torch.randn_like(self.weight)
        self.how: How = how
        self.layer: nn.Module = nn.Identity()

    def prepare(self) -> None:
        n, p = self.weight.shape
        self.layer = nn.Linear(p, n, bias=False, device="meta")
        self.layer.weight = nn.Parameter(self.weight.clone())

    def run(self) -> None:
        tm.constrain(self.layer, "weight", tm.Stiefel(), how=self.how)
        kind = tm.optim.RiemannianSGD if self.how == "riemannian" else torch.optim.SGD
        optimizer = kind(self.layer.parameters(), lr=1e-3)
        (self.layer.weight * self.grad).sum().backward()
        optimizer.step()

    def residual(self) -> float:
        return worst_residual(self.layer.weight)


def _long(name: str, settings: Settings, n: int, p: int, how: How) -> Work:
    # There is no contender: the maps of torch and geotorch form n x n matrices here, and the
    # derivative of torch's householder_product takes minutes.
    start = _Start(settings, n, p, how)
    ours = Contender(
        "ours",
        start.run,
        start.residual,
        ours=True,
        targets=(Target("milliseconds", 500), Target("megabytes", 200)),
        before=start.prepare,
        number=1,
        megabytes=lambda: peak_megabytes(CONSTRAIN, n, p, how),
    )
    return Work(name, [ours], product=lambda: start.weight.mT @ start.weight)
