"""What a comparison is to do, as data: the settings and the presets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Protocol

import torch

from torchmanifold.optim.compare.methods import METHODS, applicable
from torchmanifold.optim.compare.problems import PROBLEMS, Task

__all__ = ["DTYPES", "PRESETS", "Plan", "Run", "Settings", "task"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@cache
def task(name: str) -> Task:
    """The problem of that name, made once a process."""
    return PROBLEMS[name]()


@dataclass(frozen=True)
class Run:
    """One method on one problem from one seed at one learning rate."""

    problem: str
    method: str
    dtype: str
    lr: float
    seed: int
    steps: int
    device: str

    @property
    def key(self) -> tuple[str, str, str, float, int]:
        """What tells a run from the others of its results folder."""
        return (self.problem, self.method, self.dtype, self.lr, self.seed)


class Plan(Protocol):
    """What a results folder and the command line need of settings, whatever is compared."""

    @property
    def device(self) -> str:
        """Where it runs."""

    def runs(self) -> Iterator[Any]:
        """Runs with a `problem` and a `key`."""

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON has them."""


@dataclass(frozen=True)
class Settings:
    """Everything that determines a comparison, but for the machine.

    Args:
        problems: names of problems.
        methods: names of methods; each runs on the problems to which it applies.
        rates: the grid of learning rates, one for all methods and problems.
        steps: number of steps, for each problem.
        seeds: seeds; one draws a start and the order of the batches for all methods.
        dtypes: "float32", "float64".
        device: "cpu" or "cuda".

    Raises:
        ValueError: for an empty list, a rate or a number of steps that is not positive.
    """

    problems: tuple[str, ...]
    methods: tuple[str, ...]
    rates: tuple[float, ...]
    steps: Mapping[str, int]
    seeds: tuple[int, ...]
    dtypes: tuple[str, ...] = ("float32",)
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        for name in ("problems", "methods", "rates", "seeds", "dtypes"):
            if not getattr(self, name):
                raise ValueError(f"{name}: at least one is needed")
        for rate in self.rates:
            if not (rate > 0 and math.isfinite(rate)):
                raise ValueError(f"lr: a learning rate is positive and finite, got {rate}")
        for name in self.problems:
            if self.steps[name] < 1:
                raise ValueError(f"steps: at least 1 is needed, got {self.steps[name]}")

    def runs(self) -> Iterator[Run]:
        """All runs, problem after problem; a method that does not apply has none."""
        for problem in self.problems:
            where = task(problem)
            for method in self.methods:
                if not applicable(METHODS[method], where.manifold, where.optional):
                    continue
                for dtype in (d for d in self.dtypes if d in where.dtypes):
                    for lr in self.rates:
                        for seed in self.seeds:
                            steps = self.steps[problem]
                            yield Run(problem, method, dtype, lr, seed, steps, self.device)

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        values = asdict(self)
        values["steps"] = {name: self.steps[name] for name in self.problems}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


QUICK = Settings(
    problems=tuple(PROBLEMS),
    methods=(
        "exp-every10-adam",
        "cayley-adam",
        "qr-sgd",
        "qr-every1-sgd",
        "projection-sgd",
        "riemannian-sgd",
        "riemannian-adam",
        "torch-orthogonal-adam",
        "geotorch-adam",
        "unconstrained-adam",
    ),
    rates=(0.003, 0.03, 0.3),
    steps={name: 200 for name in PROBLEMS},
    seeds=(0, 1, 2),
)

FULL = Settings(
    problems=tuple(PROBLEMS),
    methods=tuple(METHODS),
    rates=(0.003, 0.03, 0.3),
    steps={name: 300 for name in PROBLEMS},
    seeds=(0, 1, 2),
    dtypes=("float32", "float64"),
)

PRESETS: Mapping[str, Settings] = {"quick": QUICK, "full": FULL}
