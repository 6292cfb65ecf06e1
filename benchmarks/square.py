"""Square matrices: the exponential and the Cayley transform against torch's and geotorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

import torchmanifold as tm
from torchmanifold.manifolds.linalg import eye_like

from .benchmark import Piece, Settings
from .contenders import constrained, forward_backward, linear, loose, random_skew
from .peers import geotorch_orthogonal, torch_cached, torch_orthogonal
from .table import Target
from .timing import Work

__all__ = ["batch_pieces", "cayley_pieces", "exponential_pieces", "network_pieces"]

NEAR = {256: 8.0, 512: 12.0, 1024: 12.0}  # side -> how many times faster than torch
FAR = {256: 4.5, 512: 6.0, 1024: None}
BATCHED = {"exp": tm.maps.expm_skew, "Cayley": tm.maps.cayley}


def torch_cayley(a: Tensor) -> Tensor:
    """The Cayley transform as torch and geotorch compute it."""
    eye = eye_like(a)
    return torch.linalg.solve(eye - a / 2, eye + a / 2)


def exponential_pieces(settings: Settings) -> Iterator[Piece]:
    """The exponential of a skew matrix, forward and backward, near the base and far from it."""
    for n in (16,) if settings.quick else NEAR:
        for norm, times, products in ((0.3, NEAR.get(n), 8), (25.0, FAR.get(n), 28)):
            name = f"exp {n} x {n}, 1-norm {norm:g}"
            yield Piece(name, partial(_exponential, name, settings, n, norm, times, products))


def _exponential(
    name: str, settings: Settings, n: int, norm: float, times: float | None, products: float
) -> Work:
    a = random_skew(n, n, one_norm=norm, device=settings.device)
    grad = torch.randn_like(a)
    ours = forward_backward(
        "ours",
        tm.maps.expm_skew,
        a,
        grad,
        ours=True,
        targets=(Target("products", products),),
    )
    peer = forward_backward(
        "torch matrix_exp",
        torch.matrix_exp,
        a,
        grad,
        targets=() if times is None else (Target.faster(times),),
    )
    return Work(name, [ours, peer], product=_product(grad))


def _product(x: Tensor) -> Callable[[], object]:
    return lambda: x.mT @ x


def batch_pieces(settings: Settings) -> Iterator[Piece]:
    """The same for small matrices, alone and a thousand at a time."""
    for n in (8,) if settings.quick else (8, 16, 32):
        for count in (1, 10) if settings.quick else (1, 1000):
            for map in BATCHED:
                name = f"{map} {count} x ({n} x {n}), 1-norm 1"
                yield Piece(name, partial(_batch, name, settings, map, count, n))


def _batch(name: str, settings: Settings, map: str, count: int, n: int) -> Work:
    a = random_skew(count, n, n, one_norm=1, device=settings.device)
    grad = torch.randn_like(a)
    peer = torch.matrix_exp if map == "exp" else torch_cayley
    return Work(
        name,
        [
            forward_backward("ours", BATCHED[map], a, grad, ours=True),
            forward_backward("torch", peer, a, grad),
        ],
        product=_product(grad),
    )


def cayley_pieces(settings: Settings) -> Iterator[Piece]:
    """A layer's weight as the Cayley transform of its coordinates, forward and backward."""
    for n in (16,) if settings.quick else (256, 512):
        name = f"Cayley layer {n} x {n}"
        yield Piece(name, partial(_cayley, name, settings, n))


def _cayley(name: str, settings: Settings, n: int) -> Work:
    def layer() -> nn.Module:
        return nn.Linear(n, n, bias=False, device=settings.device)

    chain = layer()
    nn.init.zeros_(chain.weight)  # a skew matrix, which the right inverse of Skew accepts
    for map in (tm.maps.Skew(), tm.maps.CayleyMap()):
        tm.parametrize.register_parametrization(chain, "weight", map)
    grads = [torch.randn(n, n, device=settings.device)]
    manifold = tm.SpecialOrthogonal(retraction=tm.Cayley())
    ours = constrained(n, n, manifold, settings.device)
    peers = {
        "torch": torch_orthogonal(layer(), "cayley"),
        "geotorch": geotorch_orthogonal(layer(), "cayley").to(settings.device),
    }
    targets = (Target.faster(1.3),)
    return Work(
        name,
        [
            linear("ours, constrain", [ours], tm.parametrize.cached, grads, ours=True),
            linear(
                "ours, Skew, CayleyMap", [loose(chain)], tm.parametrize.cached, grads, ours=True
            ),
            *(
                linear(f"{peer} cayley", [loose(x)], torch_cached, grads, targets=targets)
                for peer, x in peers.items()
            ),
        ],
        product=_product(grads[0]),
    )


def network_pieces(settings: Settings) -> Iterator[Piece]:
    """The weights of many equal layers, all evaluated and differentiated at once."""
    count, n = (3, 8) if settings.quick else (96, 64)
    for map, retraction, times in (("exp", tm.Exp(), 15.0), ("Cayley", tm.Cayley(), 3.0)):
        name = f"{count} layers {n} x {n}, {map}"
        manifold = tm.SpecialOrthogonal(retraction=retraction)
        yield Piece(name, partial(_network, name, settings, manifold, map, times, count, n))


def _network(
    name: str,
    settings: Settings,
    manifold: tm.Manifold,
    map: str,
    times: float,
    count: int,
    n: int,
) -> Work:
    device = settings.device
    grads = [torch.randn(n, n, device=device) for _ in range(count)]
    ours = nn.Sequential(*(constrained(n, n, manifold, device) for _ in range(count)))
    layers = [nn.Linear(n, n, bias=False, device=device) for _ in range(count)]
    theirs = [
        loose(torch_orthogonal(layer, "matrix_exp" if map == "exp" else "cayley"))
        for layer in layers
    ]
    stacked = torch.stack(grads)
    return Work(
        name,
        [
            linear(
                "ours, cached(model)",
                list(ours),
                lambda: tm.parametrize.cached(ours),
                grads,
                ours=True,
            ),
            linear("ours, loop", list(ours), tm.parametrize.cached, grads, ours=True),
            linear("torch loop", theirs, torch_cached, grads, targets=(Target.faster(times),)),
        ],
        product=_product(stacked),
    )
