"""The marks of a run: steps on the clock, and measurements off it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from torchmanifold.optim.compare.checkpoint import Checkpoint
from torchmanifold.optim.compare.method import Loop, Solver, Stepper
from torchmanifold.optim.compare.plan import Run
from torchmanifold.optim.compare.task import Task
from torchmanifold.optim.solvers import minimize, stop

__all__ = ["Mark", "looped", "marks", "solved", "stepped"]

RECORDS = 16  # records of a run on a log axis
EVENLY = 50  # records of a run that is recorded evenly


def marks(steps: int, spacing: str = "log", record: int | None = None) -> list[int]:
    """The steps after which a run is recorded: 0, then on a log axis, or evenly.

    Example:
        >>> marks(5), marks(5, "linear", record=2)
        ([0, 1, 2, 3, 4, 5], [0, 2, 4, 5])
    """
    if spacing == "linear":
        return sorted({*range(0, steps, record or max(1, steps // EVENLY)), steps})
    spaced = np.geomspace(1, steps, min(RECORDS, steps)).round().astype(int)
    return sorted({0, *spaced.tolist(), *range(1, min(steps, 5) + 1), steps})


class _Clock:
    """Seconds of the steps, without measurements.

    With one thread on the CPU they are seconds of processor time, which other work on the machine
    does not lengthen.
    """

    def __init__(self, device: str, seconds: float = 0.0) -> None:
        self._cuda = torch.device(device).type == "cuda"
        alone = not self._cuda and torch.get_num_threads() == 1
        self._now = time.process_time if alone else time.perf_counter
        self._before, self._begin = seconds, 0.0

    def start(self) -> None:
        """Start or resume."""
        self._synchronise()
        self._begin = self._now()

    def stop(self) -> float:
        """Pause, and return the seconds so far."""
        self._synchronise()
        self._before += self._now() - self._begin
        return self._before

    def _synchronise(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def _step(stepper: Any, objective: Callable[[], Tensor]) -> None:
    """One step of an optimizer, or of a function of one step."""
    if not isinstance(stepper, Optimizer):
        stepper(objective)
        return

    def closure() -> Tensor:
        stepper.zero_grad(set_to_none=True)
        loss = objective()
        loss.backward()
        return loss

    stepper.step(closure)  # type: ignore[arg-type]  # all of them take tensors


# The record of a run at each mark: iteration, seconds, evaluations, measurements.
Mark = tuple[int, float, int, dict[str, Any]]


def stepped(
    task: Task, stepper: Stepper, run: Run, places: list[int], kept: Checkpoint
) -> Iterator[Mark]:
    """The marks of an optimizer or a function of one step, continued from a checkpoint."""
    done, seconds = kept.done, kept.seconds
    clock = _Clock(run.device, seconds)
    for place in [mark for mark in places if mark > done or (mark == 0 and not kept.rows)]:
        clock.start()
        for step in range(done, place):
            _step(stepper, task.objective(step))
        done, seconds = place, clock.stop()
        yield place, seconds, task.evaluations, task.measure()


class _Marker:
    """The marks of a solver that owns its loop: it looks at each iteration, off the clock."""

    def __init__(self, task: Task, run: Run, places: list[int]) -> None:
        self.task = task
        self.found: list[Mark] = [(0, 0.0, 0, task.measure())]
        self._clock, self._coming = _Clock(run.device), [*places[1:], math.inf]
        self._clock.start()

    def look(self, iteration: int, x: Any, evaluations: int) -> None:
        """Record the point if its mark has come."""
        if iteration < self._coming[0]:
            return
        seconds = self._clock.stop()
        while self._coming[0] <= iteration:
            del self._coming[0]
        self.found.append((iteration, seconds, evaluations, self.task.measure(x)))
        self._clock.start()

    def end(self, iteration: int, x: Any, evaluations: int) -> list[Mark]:
        """All marks, with the last point."""
        seconds = self._clock.stop()
        if self.found[-1][0] < iteration:
            self.found.append((iteration, seconds, evaluations, self.task.measure(x)))
        return self.found


def solved(task: Task, solver: Solver, run: Run, places: list[int]) -> Iterator[Mark]:
    """The marks of a solver of `tm.minimize`."""
    limits = stop.GradientNorm(solver.tol) | stop.Iterations(run.steps)
    initial = task.model()
    marker = _Marker(task, run, places)
    result = minimize(
        task.loss,
        initial,
        task.manifold,
        solver.method,
        stop=limits if run.time_limit is None else limits | stop.Seconds(run.time_limit),
        options=solver.options,
        # A Hessian-vector product costs about as much as a value with its gradient.
        callback=lambda info: marker.look(info.nit, info.x, info.nfev + info.nhev),
    )
    yield from marker.end(result.nit, result.x, result.nfev + result.nhev)


def looped(task: Task, loop: Loop, run: Run, places: list[int]) -> Iterator[Mark]:
    """The marks of a solver of another library; an evaluation is a call of the loss."""
    last: tuple[int, Any] = (0, task.model())

    def loss(x: Any) -> Tensor:
        task.evaluations += 1
        return task.loss(x)

    def look(iteration: int, x: Any) -> None:
        nonlocal last
        last = iteration, x
        marker.look(iteration, x, task.evaluations)

    marker = _Marker(task, run, places)
    loop.minimize(loss, last[1], run.steps, loop.tol, look)
    yield from marker.end(*last, task.evaluations)
