"""The interface for scripts and for the command line: check, run, and the results."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from torchmanifold.optim.compare.check import check, check_findable
from torchmanifold.optim.compare.engine import Attempt, carry, executor_of
from torchmanifold.optim.compare.live import Live
from torchmanifold.optim.compare.method import Method
from torchmanifold.optim.compare.perform import Row
from torchmanifold.optim.compare.plan import ALL, Grids, Plan, Run
from torchmanifold.optim.compare.presets import PRESETS
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.registry import (
    Loading,
    find_method,
    find_problem,
    give,
    is_loading,
    is_ours,
)
from torchmanifold.optim.compare.report import progress
from torchmanifold.optim.compare.results import Results

__all__ = ["Session", "device_of", "plan_of", "run"]

# A function of the runs to do; its value is a context manager, whose value is called as a run ends.
Progress = Callable[[Sequence[Run]], AbstractContextManager[Callable[[list[Row]], None]]]


def device_of(device: str) -> str:
    """The device of a name; "auto" is CUDA if available.

    Raises:
        ValueError: for CUDA if it is not available, or for an unknown name.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be one of auto, cpu, cuda; got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda: PyTorch finds no CUDA device here; use auto or cpu")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def plan_of(
    problems: Iterable[str | Problem],
    methods: Iterable[str | Method] = (),
    *,
    seeds: int | Iterable[int] | None = None,
    dtypes: Iterable[str] = (),
    steps: int | None = None,
    grid: Mapping[str, Any] | None = None,
    device: str = "auto",
    threads: int = 1,
    time_limit: float | None = None,
    preset: str = "quick",
) -> Plan:
    """A plan from references and objects; the problems and the preset have the defaults.

    Raises:
        ValueError: for an unknown reference, or values that a `Plan` refuses.

    Example:
        >>> plan = plan_of(["pca"], ["riemannian-sgd"], seeds=2, grid={"lr": [0.1]}, steps=10)
        >>> [str(run) for run in plan.runs()][0]
        'riemannian-sgd on pca (lr=0.1, float32, seed 0)'
    """
    base = PRESETS.get(preset, PRESETS["quick"])
    found = [_given(problem, Problem, find_problem) for problem in problems]
    found = found or [find_problem(name) for name in base.problems]
    chosen = [_given(method, Method, find_method) for method in methods]
    if not chosen:
        own = dict.fromkeys(name for problem in found for name in problem.methods)
        chosen = [find_method(name) for name in own or base.methods]
    if isinstance(seeds, int) and seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    seeds = base.seeds if seeds is None else seeds
    return Plan(
        problems=tuple(found),
        methods=tuple(chosen),
        seeds=tuple(range(seeds) if isinstance(seeds, int) else seeds),
        dtypes=tuple(dict.fromkeys(dtypes)) or base.dtypes,
        steps=steps or base.steps,
        grids=_grids(grid or {}),
        device=device_of(device),
        threads=threads,
        time_limit=time_limit,
    )


def _given(value: Any, kind: type[Any], find: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        return find(value)
    if not isinstance(value, kind):
        word = kind.__name__.lower()
        raise ValueError(f"{word}s: expected a name or a @tm.compare.{word}, got {value!r}")
    if not is_ours(value):
        give(value)
    return value


def _grids(grid: Mapping[str, Any]) -> Grids:
    """Values for all methods, or for each method by name."""
    grids: dict[str, dict[str, tuple[Any, ...]]] = {}
    for name, values in grid.items():
        if isinstance(values, Mapping):
            grids.setdefault(name, {}).update({k: tuple(v) for k, v in values.items()})
        elif isinstance(values, str) or not isinstance(values, Iterable):
            raise ValueError(f"grid: {name} needs a list of values, got {values!r}")
        else:
            grids.setdefault(ALL, {})[name] = tuple(values)
    return grids


@dataclass(frozen=True)
class Session:
    """A plan, its results folder, and the engine of its runs.

    Args:
        plan: the plan.
        folder: the results folder, new or empty.
        resume: finish the runs that the folder lacks.
        engine: "local", "dask", "slurm", or any `concurrent.futures.Executor`.
        workers: the number of simultaneous runs.
        command: the command, for the record.
        log: called with each run and each of its new rows.
        progress: shows the progress.
        watch: while runs end, the report is written as often as this, in seconds, and reloads
            itself in the browser.

    Example:
        >>> import tempfile
        >>> plan = plan_of(["procrustes"], ["riemannian-sgd"], seeds=1, steps=3)
        >>> session = Session(plan, Path(tempfile.mkdtemp()) / "results", workers=1)
        >>> len(session.run().summary())
        3
    """

    plan: Plan
    folder: Path
    resume: bool = False
    engine: str | Executor = "local"
    workers: int | None = None
    command: str = ""
    log: Callable[[Run, Row], None] | None = None
    progress: Progress | None = None
    watch: float | None = None

    def run(self, begun: Callable[[int, int, int], None] | None = None) -> Results:
        """Perform the runs that the folder lacks, and write the report.

        Args:
            begun: called once with the number of runs to do, of finished runs, and of workers.

        Raises:
            ValueError: before anything is written, for a plan that cannot run.
            OSError: if the folder cannot be written; finished runs are kept.
        """
        if self.watch is not None and not self.watch > 0:
            raise ValueError(f"watch must be a positive number of seconds, got {self.watch!r}")
        runs = check(self.plan)
        executor, workers = executor_of(self.engine, self.workers, self.plan.device)
        try:
            if executor is not None:
                check_findable(self.plan)
            results = Results(self.folder)
            done = results.begin(self.plan, self.command or _command(), self.resume)
            todo = [run for run in runs if run.key not in done]
            if begun is not None:
                begun(len(todo), len(done), workers)
            networks = any(problem.is_network for problem in self.plan.problems)
            live = Live(results, len(todo), self.watch)
            attempt = Attempt(self.folder / "checkpoints" if networks else None, self.log)
            show = self.progress or (lambda runs: nullcontext(lambda rows: None))
            with show(todo) as advance:
                for rows in carry(todo, attempt, executor, workers):
                    results.append(rows)
                    advance(rows)
                    live(rows)
        finally:
            if executor is not None and not isinstance(self.engine, Executor):
                executor.shutdown(wait=True, cancel_futures=True)
        results.report()
        return results


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def run(
    problems: Iterable[str | Problem] = (),
    methods: Iterable[str | Method] = (),
    *,
    out: Path | str | None = None,
    resume: bool = False,
    engine: str | Executor = "local",
    workers: int | None = None,
    log: Callable[[Run, Row], None] | None = None,
    quiet: bool = False,
    watch: float | None = None,
    **plan: Any,
) -> Results:
    """Compare methods on problems.

    Args:
        problems: names in our tables, references such as `"file.py:name"`, or results of
            `tm.compare.problem`; those of the preset by default.
        methods: names, references, or results of `tm.compare.method`; those of the problems or of
            the preset by default.
        out: results folder, new or empty; `results/DATE-TIME` by default.
        resume: finish the runs that the folder lacks.
        engine: `"local"` (processes on this machine), `"dask"`, `"dask=tcp://host:8786"`,
            `"slurm"`, `"slurm=config.yml"`, or any `concurrent.futures.Executor`.
        workers: the number of simultaneous runs; on the CPU by default one for each core. With 1
            the runs stay in this process.
        log: called with each run and each of its new rows.
        quiet: show no progress.
        watch: while runs end, write the report as often as this, in seconds. It then reloads itself
            in the browser.
        plan: `seeds`, `dtypes`, `steps`, `grid`, `device`, `threads`, `time_limit`, `preset`, as
            for `plan_of`. `grid={"lr": [0.1]}` is for all methods that have a learning rate, and
            `grid={"heavy-ball": {"lr": [0.1]}}` for one method.

    Returns:
        The results: `table()`, `plot()`, `report()`, `to_pandas()`, `summary()`.

    Raises:
        ValueError: before anything is written, with one line, for a plan that cannot run.

    Example:
        >>> import tempfile, torchmanifold as tm
        >>> results = tm.compare.run(
        ...     ["procrustes"], ["riemannian-sgd", "trust-region"], seeds=1, steps=30,
        ...     out=tempfile.mkdtemp(), quiet=True, workers=1,
        ... )
        >>> results.summary().query("chosen")["method"].tolist()
        ['trust-region', 'riemannian-sgd']
    """
    if is_loading():
        raise Loading
    folder = Path(out) if out is not None else Path("results") / f"{datetime.now():%Y%m%d-%H%M%S}"
    session = Session(
        plan_of(problems, methods, **plan),
        folder,
        resume=resume,
        engine=engine,
        workers=workers,
        log=log,
        progress=None if quiet else partial(progress, None),
        watch=watch,
    )
    return session.run()
