"""Timing of contenders in turn: warm-up, then rounds of ours, peer, ours, peer, and a product.

Every ratio is taken within one round, so a machine that becomes slower during the benchmark slows
both sides of the ratio. An untimed call comes before each sample, so the state of caches and heap
that the last contender left does not count.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter

from .table import Row, Spread, Target, Verdict

__all__ = ["Contender", "Work", "measure"]

PRODUCT = "product"
SHORTEST = 2e-3  # seconds of a sample; shorter calls are repeated within it
LONG = 0.5  # seconds; a cold cache hardly slows a longer call
SCHEDULE = 5e-5  # seconds for the clock and the loop; a call as long as this is timed alone


@dataclass
class Contender:
    """An implementation of a piece of work.

    Args:
        name: its name in the table.
        call: the timed function.
        residual: a function of the error of the result, called after the timing.
        ours: whether it is this library; the others are compared with the first one of ours.
        targets: bounds on its row.
        before: called before each sample, within the context, not timed.
        context: entered around each sample, not timed.
        number: calls in a sample; by default as many as take 2 ms.
        megabytes: peak memory, measured after the timing.
        weight_megabytes: memory of the weight, for targets in units of it.
        note: words about the result, made after the timing.
    """

    name: str
    call: Callable[[], object]
    residual: Callable[[], float]
    ours: bool = False
    targets: tuple[Target, ...] = ()
    before: Callable[[], object] | None = None
    context: Callable[[], AbstractContextManager[object]] = nullcontext
    number: int | None = None
    megabytes: Callable[[], float] | None = None
    weight_megabytes: float | None = None
    note: Callable[[], str] = str


@dataclass
class Work:
    """One piece of work and its contenders.

    Args:
        name: the work, with its size.
        contenders: the contenders, ours first.
        product: a product of the same size, the unit of cost.
        best: a prefix of names, and a further target for the fastest contender with that prefix.
    """

    name: str
    contenders: list[Contender]
    product: Callable[[], object] | None = None
    best: Mapping[str, Target] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse work whose first contender is not ours."""
        if not self.contenders or not self.contenders[0].ours:
            raise ValueError(f"Work {self.name!r}: the first contender must be ours")


class _Clock:
    """Samples of one contender, by round."""

    def __init__(self, contender: Contender, synchronize: Callable[[], None]) -> None:
        self.contender = contender
        self.synchronize = synchronize
        self.number = contender.number or 1
        self.spent = 0.0
        self.seconds = math.inf  # the estimated time of a call
        self.samples: dict[int, float] = {}

    def _prepare(self) -> None:
        if self.contender.before is not None:
            self.contender.before()

    def sample(self) -> float:
        """Seconds of one call, after an untimed call."""
        contender, call = self.contender, self.contender.call
        with contender.context():
            if self.seconds < LONG:
                self._prepare()
                call()
            self._prepare()
            calls = range(self.number)
            self.synchronize()
            start = perf_counter()
            for _ in calls:
                call()
            self.synchronize()
            seconds = perf_counter() - start
        self.spent += seconds
        self.seconds = seconds / self.number
        return self.seconds

    def warm_up(self, budget: float) -> None:
        """Two calls, the second of which sets the number; a call that is too slow is the sample."""
        seconds = self.sample()
        if seconds > budget:
            self.samples[0] = seconds
            return
        seconds = self.sample()
        if self.contender.number is None and seconds < SHORTEST:
            self.number = min(10_000, math.ceil(SHORTEST / max(seconds, 1e-8)))
            if seconds < SCHEDULE:  # mostly the time of the clock: repeat with the estimate
                self.number = min(10_000, math.ceil(SHORTEST / max(self.sample(), 1e-8)))


def measure(
    work: Work,
    repeats: int,
    budget: float,
    synchronize: Callable[[], None] = lambda: None,
    judge: bool = True,
) -> list[Row]:
    """Time the contenders of a work in turn.

    Args:
        work: the piece of work with its contenders.
        repeats: the number of rounds.
        budget: seconds for each contender; a slow one takes part in fewer rounds, at least one.
        synchronize: waits for the device.
        judge: whether to decide the targets.

    Returns:
        A row for each contender.
    """
    clocks = [_Clock(c, synchronize) for c in work.contenders]
    if work.product is not None:
        clocks.append(_Clock(Contender(PRODUCT, work.product, lambda: 0.0), synchronize))
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for clock in clocks:
            clock.warm_up(budget)
        for round_ in range(repeats):
            # The order alternates, so no contender always runs after the same other one.
            for clock in clocks if round_ % 2 == 0 else reversed(clocks):
                if round_ not in clock.samples and (round_ == 0 or clock.spent < budget):
                    clock.samples[round_] = clock.sample()
    finally:
        if enabled:
            gc.enable()
    return _rows(work, clocks, judge)


def _rows(work: Work, clocks: list[_Clock], judge: bool) -> list[Row]:
    ours = clocks[0].samples
    unit = None
    if work.product is not None:
        unit = Spread.of(clocks.pop().samples.values()).median
    best = {
        min(
            (c for c in clocks if c.contender.name.startswith(prefix)),
            key=lambda c: Spread.of(c.samples.values()).median,
        ).contender.name: target
        for prefix, target in work.best.items()
    }
    rows = []
    for clock in clocks:
        contender, samples = clock.contender, clock.samples
        seconds = Spread.of(samples.values())
        paired = [r for r in samples if r in ours]
        ratio = Spread.of(samples[r] / ours[r] for r in paired)
        products = None if unit is None else seconds.median / unit
        megabytes = contender.megabytes() if contender.megabytes is not None else None
        weight = contender.weight_megabytes
        figures = {
            "ratio": ratio.median,
            "products": products,
            "milliseconds": 1e3 * seconds.median,
            "megabytes": megabytes,
            "weights": None if megabytes is None or weight is None else megabytes / weight,
            "behind": 1e6 * Spread.of(ours[r] - samples[r] for r in paired).median,
        }
        verdicts = [
            Verdict(str(target), target.reached(figures) if judge else None)
            for target in contender.targets
        ]
        if contender.name in best:
            target = best[contender.name]
            reached = target.reached(figures) if judge else None
            verdicts.append(Verdict(f"{target} (the best of its kind)", reached))
        rows.append(
            Row(
                work=work.name,
                method=contender.name,
                ours=contender.ours,
                samples=len(samples),
                milliseconds=Spread.of(1e3 * s for s in samples.values()),
                ratio=ratio,
                products=products,
                residual=float(contender.residual()),
                megabytes=megabytes,
                verdicts=tuple(verdicts),
                note=contender.note(),
            )
        )
    return rows
