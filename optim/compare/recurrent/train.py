"""Train one network: step, stop the clock, measure, record, and keep a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds import SpecialOrthogonal
from torchmanifold.optim.compare.recurrent.methods import RECURRENT, build
from torchmanifold.optim.compare.recurrent.networks import (
    KERNEL,
    SequenceModel,
    gradients_through_time,
)
from torchmanifold.optim.compare.recurrent.settings import RecurrentRun
from torchmanifold.optim.compare.run import Row, advance

__all__ = ["checkpoint_of", "train"]

PROBE = 32  # sequences whose gradient is followed through time
POINTS = 100  # of it that are recorded
CHUNK = 512  # sequences that are evaluated at a time
REPORTS = 10  # lines of progress of a run

Log = Callable[[RecurrentRun, Row], None]


def checkpoint_of(folder: Path, run: RecurrentRun) -> Path:
    """Where a run keeps its state."""
    return folder / f"{run.method}-lr{run.lr:g}-seed{run.seed}.pt"


def train(
    run: RecurrentRun,
    folder: Path | None = None,
    threads: int | None = None,
    say: Callable[[str], None] | None = None,
    log: Log | None = None,
) -> list[Row]:
    """Carry out one run: a row for each measurement, the last one marked `final`.

    Loss, accuracy and residual are those of sequences that were held out. Seconds are those of
    the steps alone: processor time with one thread on the CPU, else time on the wall clock, after
    synchronising. A run has diverged if it met a value that is not finite, or if a constrained
    kernel ends off the manifold, by a residual above the square root of eps.

    Args:
        run: what to do.
        folder: where checkpoints go; a run whose checkpoint is there goes on from it. Under
            `"model"` they have the state dict of the network.
        threads: of PyTorch for the length of the run; as it is if None.
        say: called with lines of progress.
        log: called with the run and each new row.

    Raises:
        ValueError: if the checkpoint there is of another run.

    Example:
        >>> from torchmanifold.optim.compare.recurrent import Copying, RecurrentRun, train
        >>> run = RecurrentRun(
        ...     task=Copying(5, recall=2), method="cayley", lr=1e-3, seed=0, steps=4, record=2,
        ...     hidden=8, batch=8, init="henaff", kernel_factor=0.1, device="cpu",
        ... )
        >>> [row["iteration"] for row in train(run)]
        [0, 2, 4]
    """
    with torch.random.fork_rng(), _threads(threads):
        torch.manual_seed(run.seed)
        rows = _rows(run, folder, say, log)
    end = rows[-1]
    residual, eps = end["residual"], torch.finfo(torch.float32).eps
    lost = RECURRENT[run.method].constrained and not residual <= math.sqrt(eps)
    diverged = lost or not math.isfinite(end["loss"])
    return [row | {"final": row is end, "diverged": diverged} for row in rows]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rows(
    run: RecurrentRun,
    folder: Path | None,
    say: Callable[[str], None] | None,
    log: Log | None,
) -> list[Row]:
    method, task = RECURRENT[run.method], run.task
    model, optimizer = build(
        method, task.inputs, run.hidden, task.outputs, task.every, run.init, run.lr,
        run.kernel_factor, run.device,
    )  # fmt: skip
    path = None if folder is None else checkpoint_of(folder, run)
    rows: list[Row] = []
    if path is not None and path.exists():
        state = torch.load(path, map_location=run.device, weights_only=True)
        if state["run"] != repr(run):
            raise ValueError(f"{path} is of another run, {state['run']}; give another folder")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        rows = state["rows"]
    heldout = tuple(part.to(run.device) for part in task.heldout())
    marks = run.marks()
    for mark in marks[len(rows) :]:
        done, seconds = (rows[-1]["iteration"], rows[-1]["seconds"]) if rows else (0, 0.0)
        objectives = (_objective(run, model, step) for step in range(done, mark))
        seconds += advance(optimizer, objectives, run.device)
        row = _about(run) | {"iteration": mark, "seconds": seconds} | _measure(run, model, heldout)
        ended = mark == marks[-1] or not math.isfinite(row["loss"])
        if mark == 0 or ended:
            row["through_time"] = _through_time(run, model, heldout)
        rows.append(row)
        if path is not None:
            _save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                         "rows": rows, "run": repr(run)})  # fmt: skip
        if log is not None:
            log(run, row)
        if say is not None and (ended or len(rows) % -(-len(marks) // REPORTS) == 1):
            say(
                f"{run.method}, lr {run.lr:g}, seed {run.seed}: step {mark} of {run.steps}, "
                f"loss {row['loss']:.4f}, accuracy {row['accuracy']:.3f}, {seconds:.0f} s"
            )
        if ended:
            break
    return rows


def _objective(run: RecurrentRun, model: SequenceModel, step: int) -> Callable[[], Tensor]:
    x, y = run.task.batch(run.seed, step, run.batch)
    return lambda: run.task.loss(model(x.to(run.device)), y.to(run.device))


def _about(run: RecurrentRun) -> Row:
    return {
        "problem": run.problem,
        "title": run.task.title,
        "method": run.method,
        "family": RECURRENT[run.method].family,
        "dtype": run.dtype,
        "lr": run.lr,
        "seed": run.seed,
        "baseline": run.task.baseline,
        "floor": torch.finfo(torch.float32).eps,
    }


@torch.no_grad()
def _measure(
    run: RecurrentRun, model: SequenceModel, heldout: tuple[Tensor, ...]
) -> dict[str, float]:
    """Loss, gap (the loss: none is below zero) and accuracy, and the residual of the kernel."""
    x, y = heldout
    parts = [model(part) for part in x.split(CHUNK, dim=1)]
    answer = torch.cat(parts, dim=1 if run.task.every else 0)
    loss = float(run.task.loss(answer, y))
    name = RECURRENT[run.method].kernel
    kernel = None if name is None else getattr(model.rnn, KERNEL)
    return {
        "loss": loss,
        "gap": loss,
        "accuracy": float(run.task.accuracy(answer, y)),
        "residual": math.nan if kernel is None else float(SpecialOrthogonal().residual(kernel)),
    }


def _through_time(
    run: RecurrentRun, model: SequenceModel, heldout: tuple[Tensor, ...]
) -> list[list[float]]:
    """Pairs of a step of the sequence and the norm of the gradient there, thinned."""
    x, y = heldout
    y = y[:, :PROBE] if run.task.every else y[:PROBE]
    norms = gradients_through_time(model, run.task.loss, x[:, :PROBE], y)
    places = torch.linspace(0, len(norms) - 1, min(POINTS, len(norms))).round().long()
    return [[int(t), float(norms[t])] for t in places if math.isfinite(norms[t])]


def _save(path: Path, state: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all.
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
