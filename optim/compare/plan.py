"""The plan of a comparison, as data: problems, methods, grids, seeds, and the resulting runs."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torchmanifold.optim.compare.method import Method
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.task import DTYPES

__all__ = ["ALL", "Grids", "Plan", "Run", "config_text", "with_preset"]

Values = tuple[tuple[str, Any], ...]
Grids = Mapping[str, Mapping[str, tuple[Any, ...]]]

ALL = "*"


def config_text(config: Mapping[str, Any]) -> str:
    """Hyperparameters in one line.

    Example:
        >>> config_text({"lr": 0.01, "kernel_factor": 0.1})
        'lr=0.01, kernel_factor=0.1'
    """
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in config.items()
    )


@dataclass(frozen=True)
class Run:
    """One method on one problem from one seed with one choice of hyperparameters.

    Args:
        problem: reference of the problem.
        method: reference of the method.
        config: hyperparameters.
        seed: seed of the instance and of torch's generator.
        steps: the number of steps.
        dtype: "float32" or "float64".
        device: "cpu" or "cuda".
        parameters: parameters of the problem.
        threads: threads of PyTorch; unchanged if None.
        time_limit: seconds after which the run ends as failed; None for no limit.
        name: name of the problem in results; `method_name` is that of the method.

    Example:
        >>> run = Run("pca", "qr-sgd", (("lr", 0.1),), seed=0, steps=20)
        >>> run.id == Run("pca", "qr-sgd", (("lr", 0.1),), seed=0, steps=20, device="cuda").id
        True
    """

    problem: str
    method: str
    config: Values
    seed: int
    steps: int
    dtype: str = "float32"
    device: str = "cpu"
    parameters: Values = ()
    threads: int | None = None
    time_limit: float | None = None
    name: str = ""
    method_name: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """The key of a run in its results folder, as `Results` reads it."""
        problem, method = self.name or self.problem, self.method_name or self.method
        return (problem, method, self.dtype, config_text(dict(self.config)), self.seed)

    @property
    def id(self) -> str:
        """A hash of everything that determines its rows, except the machine."""
        about = (self.problem, self.parameters, self.method, self.config, self.seed, self.steps)
        text = json.dumps([*about, self.dtype], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """The run in words."""
        problem, method, dtype, config, seed = self.key
        return f"{method} on {problem} ({', '.join(filter(None, [config, dtype]))}, seed {seed})"


@dataclass(frozen=True)
class Plan:
    """Everything that determines a comparison, except the machine.

    Args:
        problems: the problems, with their parameters.
        methods: the methods; each runs on the problems to which it applies.
        seeds: the seeds; a seed draws one instance, the same for all methods.
        dtypes: "float32", "float64".
        steps: the number of steps of every problem; each problem's own if None.
        grids: values of hyperparameters of single methods, or of all under "*"; they replace those
            of the problem and of the method.
        device: "cpu" or "cuda".
        threads: threads of PyTorch, in each process.
        time_limit: seconds after which a run ends as failed.

    Raises:
        ValueError: for an empty list, a repeated name, a learning rate that is not positive, or a
            number of steps below 1.
    """

    problems: tuple[Problem, ...]
    methods: tuple[Method, ...] = ()
    seeds: tuple[int, ...] = (0,)
    dtypes: tuple[str, ...] = ("float32",)
    steps: int | None = None
    grids: Grids = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1
    time_limit: float | None = None

    def __post_init__(self) -> None:
        """Refuse values with which the plan could not run."""
        for name in ("problems", "seeds", "dtypes"):
            if not getattr(self, name):
                raise ValueError(f"{name}: at least one is needed")
        for kind in ("problems", "methods"):
            names = [value.name for value in getattr(self, kind)]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"{kind}: {twice!r} occurs twice; give one of them another name")
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"time_limit must be positive, got {self.time_limit}")
        known = {method.name for method in self.methods} | {ALL}
        for name, grid in self.grids.items():
            if self.methods and name not in known:
                raise ValueError(f"grid: {name} is not among the methods of this comparison")
            _check_grid(grid)

    def methods_of(self, problem: Problem) -> list[Method]:
        """The methods that run on a problem."""
        return [method for method in self.methods if method.works_on(problem)]

    def steps_of(self, problem: Problem) -> int:
        """The number of steps of a problem."""
        return self.steps or problem.probe.steps or problem.steps

    def grid(self, problem: Problem, method: Method) -> dict[str, tuple[Any, ...]]:
        """The values of each hyperparameter: the user's, the problem's, the method's own."""
        grid = dict(method.grid)
        accepted = {*grid, *method.accepts}
        for grids in (problem.grids, self.grids):
            everywhere = {k: v for k, v in grids.get(ALL, {}).items() if k in accepted}
            grid |= {**everywhere, **grids.get(method.name, {})}
        return {name: tuple(values) for name, values in grid.items()}

    def runs(self) -> Iterator[Run]:
        """All runs, problem after problem; a method has no runs where it does not apply."""
        for problem in self.problems:
            steps = self.steps_of(problem)
            for method in self.methods_of(problem):
                grid = self.grid(problem, method)
                choices = [tuple(zip(grid, some, strict=True))
                           for some in itertools.product(*grid.values())]  # fmt: skip
                for dtype in (d for d in self.dtypes if d in problem.dtypes):
                    for config, seed in itertools.product(choices, self.seeds):
                        yield Run(
                            problem.reference or problem.name,
                            method.reference or method.name,
                            config,
                            seed,
                            steps,
                            dtype,
                            self.device,
                            tuple(problem.parameters.items()),
                            self.threads,
                            self.time_limit,
                            problem.name,
                            method.name,
                        )

    @property
    def description(self) -> dict[str, Any]:
        """The plan in the form of JSON."""
        return {
            "problems": {p.name: p.description | {"steps": self.steps_of(p)}
                         for p in self.problems},
            "methods": {m.name: m.description for m in self.methods},
            "grids": {
                p.name: {m.name: {k: list(v) for k, v in self.grid(p, m).items()}
                         for m in self.methods_of(p)}
                for p in self.problems
            },
            "seeds": list(self.seeds),
            "dtypes": list(self.dtypes),
            "device": self.device,
            "threads": self.threads,
        }  # fmt: skip


def _check_grid(grid: Mapping[str, tuple[Any, ...]]) -> None:
    for name, values in grid.items():
        if not values:
            raise ValueError(f"grid: {name} has no value; give at least one")
        for value in values if name in ("lr", "kernel_factor") else ():
            if not (isinstance(value, int | float) and value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}: a learning rate is positive and finite, got {value}")


def with_preset(problem: Problem, preset: Mapping[str, Any]) -> Problem:
    """A problem with the parameters, steps and grids of one of its presets."""
    fields = {name: preset[name] for name in ("steps", "grids") if name in preset}
    parameters = {name: value for name, value in preset.items() if name not in fields}
    return dataclasses.replace(problem.configured(**parameters), **fields)
