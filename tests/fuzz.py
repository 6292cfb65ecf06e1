"""Hostile trials: unusual weights, gradients and layouts, over all manifolds.

    python tests/fuzz.py [--trials 8000] [--first 0] [--seed 0]

A trial constrains a weight, assigns to it, moves it, rebases it and frees it again. Each of these
may succeed or refuse with a helpful error; anything else is a violation. The program prints the
counts, and for each violation a line that reproduces it; with a violation the exit status is 1.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from cases import ALWAYS_COMPLEX, CASES, entries, every
from torch import Tensor, nn

import torchmanifold as tm

VARIANTS = every((*CASES, *ALWAYS_COMPLEX))
DTYPES = (
    *[torch.float32] * 4,
    *[torch.float64] * 3,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.complex128,
)
RIEMANNIAN = (tm.optim.RiemannianSGD, tm.optim.RiemannianAdam, tm.optim.RiemannianRMSprop)
ORDINARY = (torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad)
DEFINITE = (tm.SymmetricPositiveDefinite, tm.SpecialPositiveDefinite)
POSITIVE = (tm.Positive, tm.Multinomial, tm.DoublyStochastic)
HALF = (torch.float16, torch.bfloat16)
RATES = (1e-3, 0.1, 1.0, 1e3)

# Factors of a value, as powers of the largest or the smallest number of its dtype.
SIZES = {"tiny": -0.75, "small": -0.4, "large": 0.4, "huge": 0.75, "largest": 0.98}
ENTRIES = {"nan": torch.nan, "inf": torch.inf, "-inf": -torch.inf}
KINDS = (
    *["normal"] * 4,
    *SIZES,
    *ENTRIES,
    "zeros",
    "ones",
    "negative",
    "eye",
    "-eye",
    "repeated",
    "deficient",
    "graded",
    "integer",
    "one bad",
    "point",
    "near",
)
LAYOUTS = (*["contiguous"] * 3, "transposed", "strided", "expanded", "empty", "wrong shape")


class Violation(Exception):
    """Something that must not happen."""


def demand(holds: object, what: str) -> None:
    if not holds:
        raise Violation(what)


@dataclass
class Trial:
    """One trial; the seed and its number determine all its draws."""

    seed: int
    number: int
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = self.draw = random.Random(f"{self.seed} {self.number}")
        self.generator = torch.Generator().manual_seed(draw.randrange(2**32))
        self.manifold, self.shape = VARIANTS[self.number % len(VARIANTS)]
        if draw.random() < 0.2:
            self.shape = (2, *self.shape)
        self.dtype = draw.choice(DTYPES)
        if self.dtype not in HALF:
            self.dtype = entries(self.manifold, self.dtype)
        self.how = draw.choice(("parametrized", "riemannian"))
        self.kind = draw.choice(KINDS)
        self.layout = draw.choice(LAYOUTS)
        self.steps += [repr(self.manifold), str(self.shape), str(self.dtype), self.how]

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        wide = torch.complex128 if self.dtype.is_complex else torch.float64
        return torch.randn(shape, generator=self.generator, dtype=wide)

    def value(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor of that kind, contiguous."""
        z = self.normal(shape)
        info = torch.finfo(self.dtype)
        if kind in SIZES:
            power = SIZES[kind]
            z = z / z.abs().amax() if z.numel() else z
            z = z * (info.max**power if power > 0 else info.tiny**-power)
        elif kind in ("zeros", "integer", "ones"):
            z = torch.zeros_like(z) if kind == "zeros" else torch.ones_like(z)
        elif kind in ("eye", "-eye", "repeated", "negative") and z.ndim > 1:
            eye = torch.eye(*shape[-2:], dtype=z.dtype).expand(shape).clone()
            if kind == "repeated" and min(shape[-2:]):
                u, s, vh = torch.linalg.svd(z, full_matrices=False)
                z = 2 * u @ vh
            elif kind == "negative":
                z = -z @ z.mH if shape[-1] == shape[-2] else -z.abs()
            else:
                z = eye if kind == "eye" else -eye
        elif kind == "deficient" and z.ndim > 1:
            z = z[..., :1] * z[..., :1, :]
        elif kind == "graded" and z.ndim and z.numel():
            z = z * torch.logspace(-9, 9, shape[-1], dtype=torch.float64)
        elif kind in ("point", "near") and z.numel() and shape == self.shape and self.fits():
            z = self.manifold.random(shape, generator=self.generator, dtype=z.dtype)
            z = z + 1e-9 * self.normal(shape) if kind == "near" else z
        if z.numel():
            if kind in ENTRIES:
                z.view(-1)[self.draw.randrange(z.numel())] = ENTRIES[kind]
            elif kind == "one bad":
                z.view(-1)[0] = info.max
        return z.to(torch.int64) if kind == "integer" else z.to(self.dtype)

    def fits(self) -> bool:
        """Whether points can have numbers of this dtype."""
        kind = "complex" if self.dtype.is_complex else "real"
        return self.manifold.numbers in (kind, "either")

    def laid_out(self, z: Tensor, layout: str) -> Tensor:
        """The same values (except for an expanded tensor) with other strides."""
        if layout == "transposed" and z.ndim > 1:
            return z.mT.contiguous().mT
        if layout == "strided":
            return torch.stack((z, z), -1)[..., 0]
        if layout == "expanded" and z.shape[0]:
            return z[:1].expand(z.shape)
        return z

    def weight(self) -> Tensor:
        """The first value of the weight."""
        shape = self.shape
        if self.layout == "empty":
            where = self.draw.randrange(len(shape))
            shape = (*shape[:where], 0, *shape[where + 1 :])
        elif self.layout == "wrong shape":
            shape = self.draw.choice([shape[1:], (*shape[:-1], shape[-1] + 3), (1, 7, 2)])
        self.steps += [self.kind, self.layout]
        z = self.value(self.kind, shape)
        return self.laid_out(z, self.layout)


class Holder(nn.Module):
    """A module whose output is its weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=weight.dtype != torch.int64)

    def forward(self) -> Tensor:
        return self.weight


def same(x: Tensor, y: Tensor) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype and torch.equal(x.nan_to_num(), y.nan_to_num())


def refusal(action: Callable[[], object], allowed: tuple[type[Exception], ...]) -> str | None:
    """The message of a helpful error; None for success."""
    try:
        action()
    except allowed as error:
        message = str(error)
        demand("weight" in message or "value" in message, f"a riddle: {error!r}")
        return message
    except Exception as error:
        # raw errors of torch and LAPACK
        raise Violation(f"{type(error).__name__}: {str(error)[:200]}") from error
    return None


def check_weight(layer: Holder, shape: torch.Size, dtype: torch.dtype, what: str) -> None:
    """The weight is a point: finite, contiguous, of its shape and dtype, on its manifold."""
    M = tm.manifold_of(layer, "weight")
    demand(M is not None, f"{what}: no manifold")
    assert M is not None
    with torch.no_grad():
        x = layer.weight
        if tm.parametrize.is_parametrized(layer, "weight"):
            for name, part in layer.parametrizations.weight.named_buffers():
                demand(part.isfinite().all(), f"{what}: {name} is not finite")
                demand(part.is_contiguous(), f"{what}: {name} is not contiguous")
        demand(x.shape == shape and x.dtype == dtype, f"{what}: {x.shape}, {x.dtype}")
        demand(x.isfinite().all(), f"{what}: not finite")
        if x.numel() == 0:
            return
        residual = float(M.residual(x).max())
        stated = M.retraction_rule.residual
        # The residual is stated for tangent vectors; at a point with a residual, vectors are
        # tangent only to first order.
        bound = M.tolerance(tuple(shape), dtype) + 5 * (stated(M, tuple(shape)) if stated else 0)
    if isinstance(M, POSITIVE) and dtype in HALF:  # where small numbers underflow
        return
    demand(residual <= bound, f"{what}: residual {residual:.3g} > {bound:.3g}")


def sensible(z: Tensor) -> bool:
    """Finite, and far from where squares overflow or vanish."""
    if z.numel() == 0 or not (z.is_floating_point() or z.is_complex()):
        return False
    size = float(z.abs().max())
    return bool(z.isfinite().all()) and 1e-3 < size < 1e3


def run(trial: Trial, count: Callable[[str, str], None]) -> None:
    weight = trial.weight()
    layer = Holder(weight)
    before = weight.clone()

    def act() -> None:
        tm.constrain(layer, "weight", trial.manifold, how=trial.how)

    message = refusal(act, (ValueError, TypeError))
    if message is not None:
        demand(same(layer.weight.detach(), before), "constrain: refused, and changed the weight")
        demand(not tm.is_constrained(layer), "constrain: refused, and constrained")
        demand(not tm.parametrize.is_parametrized(layer), "constrain: refused, and parametrized")
        half = trial.dtype in HALF
        fits = trial.layout in ("contiguous", "transposed", "strided") and trial.kind != "integer"
        other = "real" if trial.dtype.is_complex else "points are complex"
        if fits and sensible(weight) and other not in message:
            demand(half and "digits" in message, f"constrain: refused a fair weight: {message}")
        count("constrain", "refused")
        return
    count("constrain", "ok")
    shape, dtype = weight.shape, weight.dtype
    check_weight(layer, shape, dtype, "constrain")
    if weight.numel() == 0:
        freed(layer, count)
        return
    for _ in range(trial.draw.randrange(1, 4)):
        move = trial.draw.choice((assign, step, step, rebase))
        if not move(trial, layer, count):
            return
        check_weight(layer, shape, dtype, move.__name__)
    freed(layer, count)


def assign(trial: Trial, layer: Holder, count: Callable[[str, str], None]) -> bool:
    """Assign some value; whether the trial goes on."""
    kind = trial.draw.choice(KINDS)
    trial.steps.append(f"assign {kind}")
    value = trial.laid_out(trial.value(kind, tuple(layer.weight.shape)), trial.draw.choice(LAYOUTS))
    before = layer.weight.detach().clone()
    if trial.how == "parametrized":

        def act() -> None:
            layer.weight = value

        message = refusal(act, (ValueError, TypeError))
        now = layer.weight.detach()
        if message is not None:
            demand(torch.equal(now, before), "assign: refused, and changed the weight")
        count("assign", "ok" if message is None else "refused")
        return True
    if value.dtype == torch.int64:
        return True
    with torch.no_grad():
        layer.weight.copy_(value)
    layer.weight.grad = torch.zeros_like(layer.weight)
    message = refusal(tm.optim.RiemannianSGD(layer, lr=1.0).step, (RuntimeError,))
    finite = bool(layer.weight.isfinite().all())
    if message is not None or not finite:
        with torch.no_grad():
            layer.weight.copy_(before)
    count("assign", "refused" if message is not None else "ok" if finite else "not finite")
    return True


def step(trial: Trial, layer: Holder, count: Callable[[str, str], None]) -> bool:
    """Steps with some gradient; whether the trial goes on."""
    kind = trial.draw.choice([k for k in KINDS if k != "integer"])
    rate = trial.draw.choice(RATES)
    gradient = trial.value(kind, tuple(layer.weight.shape))
    riemannian = trial.how == "riemannian"
    make = trial.draw.choice(RIEMANNIAN if riemannian else ORDINARY)
    skip = trial.draw.random() < 0.5
    trial.steps.append(f"{make.__name__} lr={rate} {kind}{' skip' if riemannian and skip else ''}")
    if riemannian:
        optimizer = make(layer, lr=rate, nonfinite="skip" if skip else "propagate")
    else:
        optimizer = make(layer.parameters(), lr=rate)
    before = layer.weight.detach().clone()
    said = []
    for _ in range(3):
        optimizer.zero_grad()
        layer().backward(gradient)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if refusal(optimizer.step, ()):
                return False
        said += [str(w.message) for w in caught]
    now = layer.weight.detach()
    if now.isfinite().all():
        count("step", "ok")
        return True
    if riemannian:
        demand(not skip, "step: nonfinite='skip' left a weight that is not finite")
    else:
        v = layer.parametrizations.weight.original.detach()
        if not v.isfinite().all():  # torch's optimizer made it so, as Adam does in float16
            count("step", "not finite")
            return False
    half = trial.dtype in HALF  # these overflow soon
    fair = sensible(gradient) and sensible(before) and rate <= 0.1 and not half
    demand(not fair, "step: a fair gradient left a weight that is not finite")
    count("step", "not finite")
    if riemannian:
        with torch.no_grad():
            layer.weight.copy_(before)
        return True
    return False


def rebase(trial: Trial, layer: Holder, count: Callable[[str, str], None]) -> bool:
    """Move the base to the weight; whether the trial goes on."""
    if trial.how == "riemannian":
        return True
    trial.steps.append("rebase")
    before = layer.weight.detach().clone()
    if isinstance(trial.manifold, DEFINITE):
        # If the condition exceeds 1 / eps, the least eigenvalue is rounding, and perhaps negative.
        wide = before.to(torch.promote_types(before.dtype, torch.float64))
        if not bool((torch.linalg.eigvalsh(wide) > 0).all()):
            count("rebase", "not definite")
            return False
    length = float(layer.parametrizations.weight.original.detach().abs().max())
    if refusal(lambda: tm.rebase_(layer), ()):
        return False
    now = layer.weight.detach()
    scale = float(before.abs().max()) or 1.0
    off = float((now - before).abs().max()) / scale
    # An exponential along v has at most as many digits as the entries of v.
    allowed = 2000 * torch.finfo(before.dtype).eps * max(1.0, min(length, 1e3))
    stated = trial.manifold.retraction_rule.residual
    allowed += stated(trial.manifold, trial.shape) if stated else 0
    if isinstance(trial.manifold, DEFINITE):
        allowed *= max(1.0, float(torch.linalg.cond(before).max()))
    demand(off <= allowed, f"rebase: the weight moved by {off:.3g} of its size")
    count("rebase", "ok")
    return True


def freed(layer: Holder, count: Callable[[str, str], None]) -> None:
    """Take the weight off its manifold; its value stays."""
    before = layer.weight.detach().clone()
    tm.unconstrain(layer, "weight")
    demand(torch.equal(layer.weight.detach(), before), "unconstrain: the weight moved")
    demand("weight" in layer._parameters and not tm.is_constrained(layer), "unconstrain: no weight")
    count("unconstrain", "ok")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=8000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first trial")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    violations = []
    for number in range(given.first, given.first + given.trials):
        trial = Trial(given.seed, number)
        try:
            run(trial, lambda action, outcome: counts.update([(action, outcome)]))
        except Exception as error:
            kind = "" if isinstance(error, Violation) else f"{type(error).__name__}: "
            violations.append(
                f"python tests/fuzz.py --seed {given.seed} --first {number} --trials 1"
                f"  # {kind}{error} [{', '.join(trial.steps)}]"
            )
    print(f"{given.trials} trials over {len(VARIANTS)} variants of manifolds, seed {given.seed}")
    for (action, outcome), number in sorted(counts.items()):
        print(f"  {action:12} {outcome:12} {number:7}")
    print(f"  {len(violations)} violations")
    for line in violations:
        print(line)
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main())
