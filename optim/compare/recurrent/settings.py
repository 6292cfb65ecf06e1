"""What a comparison of recurrent networks is to do, as data: runs, settings, published sizes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torchmanifold.optim.compare.recurrent.adding import Adding
from torchmanifold.optim.compare.recurrent.copying import Copying
from torchmanifold.optim.compare.recurrent.methods import RECURRENT
from torchmanifold.optim.compare.recurrent.pixels import Pixels
from torchmanifold.optim.compare.recurrent.task import SequenceTask

__all__ = ["SIZES", "RecurrentRun", "RecurrentSettings", "Size", "rates_of"]

RECORDS = 50


@dataclass(frozen=True)
class RecurrentRun:
    """One network on one task from one seed at one learning rate."""

    task: SequenceTask
    method: str
    lr: float
    seed: int
    steps: int
    record: int
    hidden: int
    batch: int
    init: str
    kernel_factor: float
    device: str

    dtype = "float32"

    @property
    def problem(self) -> str:
        """Name of the task."""
        return self.task.name

    @property
    def key(self) -> tuple[str, str, str, float, int]:
        """What tells a run from the others of its results folder."""
        return (self.problem, self.method, self.dtype, self.lr, self.seed)

    def marks(self) -> list[int]:
        """The steps after which the run is recorded.

        Example:
            >>> RecurrentRun(Copying(5), "exp", 0.1, 0, 5, 2, 8, 8, "henaff", 0.1, "cpu").marks()
            [0, 2, 4, 5]
        """
        return sorted({*range(0, self.steps, self.record), self.steps})


@dataclass(frozen=True)
class RecurrentSettings:
    """Everything that determines a comparison of recurrent networks, but for the machine.

    Args:
        task: what they learn.
        methods: names in `RECURRENT`.
        rates: grid of learning rates, for each method.
        steps: training steps of a run.
        record: steps from one measurement to the next.
        seeds: one draws the start and the batches for all methods.
        hidden: size of the state.
        batch: sequences of a step.
        init: start of the orthogonal kernels, see `torchmanifold.nn.init`.
        kernel_factor: learning rate of a constrained kernel in units of that of the other weights.
        device: "cpu" or "cuda".
        threads: of PyTorch, in each process.

    Raises:
        ValueError: for a rate or factor that is not positive and finite.
    """

    task: SequenceTask
    methods: tuple[str, ...]
    rates: Mapping[str, tuple[float, ...]]
    steps: int
    record: int
    seeds: tuple[int, ...]
    hidden: int
    batch: int
    init: str
    kernel_factor: float
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        for rate in (rate for rates in self.rates.values() for rate in rates):
            if not (rate > 0 and math.isfinite(rate)):
                raise ValueError(f"lr: a learning rate is positive and finite, got {rate}")
        if not (self.kernel_factor > 0 and math.isfinite(self.kernel_factor)):
            raise ValueError(f"kernel_factor: positive and finite, got {self.kernel_factor}")

    def runs(self) -> Iterator[RecurrentRun]:
        """All runs, seed after seed: the first figures of all methods come early."""
        for seed in self.seeds:
            for method in self.methods:
                for lr in self.rates[method]:
                    yield RecurrentRun(
                        self.task, method, lr, seed, self.steps, self.record, self.hidden,
                        self.batch, self.init, self.kernel_factor, self.device,
                    )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        alone = self.device == "cpu" and self.threads == 1
        values = asdict(self) | {
            "title": self.task.title,
            "baseline": self.task.baseline,
            "clock": "processor time" if alone else "time on the wall clock",
        }
        result: dict[str, Any] = json.loads(json.dumps(values, default=str))
        return result


@dataclass(frozen=True)
class Size:
    """Sizes and rates that belong together.

    Args:
        task: with the length.
        hidden: size of the state.
        batch: sequences of a step.
        steps: training steps; for images epochs.
        lr: of orthogonal networks, but for their kernel.
        init: start of the kernel.
        kernel_factor: rate of the kernel in units of `lr`.
    """

    task: type[Copying] | type[Adding] | type[Pixels]
    hidden: int
    batch: int
    steps: int
    lr: float
    init: str
    length: int | None = None
    kernel_factor: float = 0.1


# Published: Lezcano-Casado & Martinez-Rubio 2019, and the README of their code; RMSprop for all.
SIZES: Mapping[str, Mapping[str, Size]] = {
    "rnn-copy": {
        "small": Size(Copying, 128, 64, 800, 3e-3, "henaff", length=200),
        "published": Size(Copying, 190, 128, 4000, 2e-4, "henaff", length=1000),
    },
    "rnn-adding": {
        "small": Size(Adding, 128, 64, 4000, 1e-3, "henaff", length=200),
    },
    "rnn-mnist": {
        "small": Size(Pixels, 128, 64, 20, 1e-3, "cayley"),
        "published-170": Size(Pixels, 170, 128, 70, 7e-4, "cayley"),
        "published-360": Size(Pixels, 360, 128, 70, 5e-4, "cayley"),
        "published-512": Size(Pixels, 512, 128, 70, 3e-4, "cayley"),
        "published-permuted-170": Size(Pixels, 170, 128, 70, 1e-3, "cayley"),
        "published-permuted-360": Size(Pixels, 360, 128, 70, 7e-4, "cayley"),
        "published-permuted-512": Size(Pixels, 512, 128, 70, 5e-4, "cayley"),
    },
}

# What the size's rate is not for: networks without a constraint, and steps of another scale.
RATES = {"rnn": 1e-3, "lstm": 3e-3, "modrelu": 1e-4, "geotorch-tanh": 1e-3, "riemannian-sgd": 0.01}


def rates_of(size: Size) -> dict[str, tuple[float, ...]]:
    """One learning rate for each method: the size's own, or what is usual for the method.

    Example:
        >>> rates = rates_of(SIZES["rnn-copy"]["published"])
        >>> rates["exp"], rates["lstm"]
        ((0.0002,), (0.003,))
    """
    return {name: (RATES.get(name, size.lr),) for name in RECURRENT}
