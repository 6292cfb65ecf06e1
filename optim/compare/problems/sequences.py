"""Tasks for recurrent networks: batches of sequences, a loss, and the loss without memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from torchmanifold.manifolds import Cayley, SpecialOrthogonal
from torchmanifold.nn import OrthogonalRNN
from torchmanifold.optim.compare.instance import Instance, Panel
from torchmanifold.optim.compare.problems.networks import (
    KERNEL,
    SequenceModel,
    gradients_through_time,
)
from torchmanifold.weights import unconstrain

__all__ = ["RECORDS", "SHARED", "SequenceTask", "grids", "kernel", "seeded", "sequence_instance"]

PROBE = 32  # sequences whose gradient is followed through time
POINTS = 100  # recorded points of this gradient
CHUNK = 512  # sequences that are evaluated at a time
SOLVED = 0.1  # a task counts as solved at this fraction of the loss without memory
RECORDS = 50

# Rates of methods for which the rate of a preset is wrong: networks without a constraint, and steps
# of another scale.
_RATES = {"rnn": 1e-3, "lstm": 3e-3, "modrelu": 1e-4, "geotorch-tanh": 1e-3, "riemannian-sgd": 0.01}

# The common arguments of the problems of recurrent networks.
SHARED: Mapping[str, Any] = {
    "optional": True,
    "dtypes": ("float32",),
    "spacing": "linear",
    "methods": (
        "exp", "exp-every100", "exp-every1", "cayley", "cayley-every100", "cayley-every1",
        "riemannian-sgd", "riemannian-rmsprop", "riemannian-adam",
        "torch-orthogonal", "geotorch", "geotorch-tanh", "lstm", "rnn",
    ),
    "optimum": "0, a lower bound of the loss",
}  # fmt: skip


def kernel() -> dict[str, SpecialOrthogonal]:
    """The constrained weight."""
    return {f"rnn.{KERNEL}": SpecialOrthogonal(retraction=Cayley())}


def grids(lr: float) -> dict[str, dict[str, tuple[float, ...]]]:
    """Learning rates: of orthogonal networks, except their kernel, and the usual ones of others.

    Example:
        >>> grids(2e-4)["*"]["lr"], grids(2e-4)["lstm"]["lr"]
        ((0.0002,), (0.003,))
    """
    return {
        "*": {"lr": (lr,), "kernel_factor": (0.1,)},
        **{name: {"lr": (rate,)} for name, rate in _RATES.items()},
    }


class SequenceTask(Protocol):
    """The interface of a task to training. Batches are functions of the seed and of the step.

    An interrupted run therefore continues with the same batches.
    """

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def title(self) -> str:
        """Heading in figures: the task and its size."""

    @property
    def inputs(self) -> int:
        """Features of the input in each step."""

    @property
    def outputs(self) -> int:
        """The number of outputs of the network."""

    @property
    def every(self) -> bool:
        """Whether the network answers in every step, or only at the end."""

    @property
    def baseline(self) -> float:
        """The loss of the best answer without memory."""

    def batch(self, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Inputs `(time, size, inputs)` and targets of a training step."""

    def heldout(self) -> tuple[Tensor, Tensor]:
        """Inputs `(time, m, inputs)` and targets that no training step sees."""

    def loss(self, answer: Tensor, target: Tensor) -> Tensor:
        """The mean loss, `()`."""

    def accuracy(self, answer: Tensor, target: Tensor) -> Tensor:
        """The share of right answers, `()`."""


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose seed is a hash of the numbers, the same on every machine.

    Example:
        >>> import torch
        >>> [int(torch.randint(10**6, (), generator=seeded(0, step))) for step in (3, 3)]
        [895018, 895018]
    """
    mixed = 0
    for number in numbers:
        # The step of splitmix64, which turns neighbouring numbers into unrelated seeds.
        mixed = (mixed + number + 0x9E3779B97F4A7C15) % 2**64
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        mixed ^= mixed >> 31
    return torch.Generator().manual_seed(mixed % 2**63)


def sequence_instance(
    task: SequenceTask,
    seed: int,
    hidden: int,
    batch: int,
    init: str,
    input_std: float | None = None,
    steps: int | None = None,
    record: int | None = None,
) -> Instance:
    """A task as the instance of a problem: loss, accuracy and residual are those of held-out data.

    Args:
        task: the task.
        seed: seed of the batches; torch's global generator draws the network.
        hidden: size of the state.
        batch: sequences of a step.
        init: initial value of the kernel, see `torchmanifold.nn.init`.
        input_std: standard deviation of the initial input weights, as for `OrthogonalRNN`.
        steps: the number of steps.
        record: the number of steps between two records.

    Raises:
        ValueError: for a size below 1.
    """
    for name, value in (("hidden", hidden), ("batch", batch)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    recurrence = unconstrain(
        OrthogonalRNN(task.inputs, hidden, init=init, input_std=input_std), KERNEL
    )
    heldout = task.heldout()

    def loss(model: SequenceModel, x: Tensor, y: Tensor) -> Tensor:
        return task.loss(model(x), y)

    def measure(model: SequenceModel) -> dict[str, float]:
        x, y = (part.to(model.head.weight.device) for part in heldout)
        parts = [model(part) for part in x.split(CHUNK, dim=1)]
        answer = torch.cat(parts, dim=1 if task.every else 0)
        weight = getattr(model.rnn, KERNEL)
        square = weight.shape[0] == weight.shape[1]
        return {
            "loss": float(task.loss(answer, y)),
            "accuracy": float(task.accuracy(answer, y)),
            "residual": float(SpecialOrthogonal().residual(weight)) if square else math.nan,
        }

    def profile(model: SequenceModel) -> dict[str, list[list[float]]]:
        x, y = (part.to(model.head.weight.device) for part in heldout)
        y = y[:, :PROBE] if task.every else y[:PROBE]
        norms = gradients_through_time(model, task.loss, x[:, :PROBE], y)
        places = torch.linspace(0, len(norms) - 1, min(POINTS, len(norms))).round().long()
        pairs = [[int(t), float(norms[t])] for t in places if math.isfinite(norms[t])]
        return {"through_time": pairs}

    return Instance(
        loss=loss,
        initial=SequenceModel(recurrence, hidden, task.outputs, task.every),
        exact=0.0,
        batch=lambda step: task.batch(seed, step, batch),
        measure=measure,
        profile=profile,
        title=task.title,
        panels=_panels(task.baseline),
        solved=(SOLVED * task.baseline, "a tenth"),
        steps=steps,
        record=record,
    )


def _panels(baseline: float) -> tuple[Panel, ...]:
    """The panels, with linear axes: a log axis would shrink the plateaus of networks."""
    step, levels = "training step", ((baseline, "without memory"), (SOLVED * baseline, "a tenth"))
    gradient = r"$\|\partial L / \partial s_t\|$ at first"
    return (
        Panel("loss", "held-out loss", x_label=step, log_x=False, levels=levels),
        Panel("loss", "held-out loss", "seconds", "seconds of steps", log_x=False, levels=levels),
        Panel("accuracy", "held-out accuracy", x_label=step, log=False, log_x=False),
        Panel("residual", "residual of the kernel", x_label=step, log_x=False),
        Panel("through_time", gradient, "place", "step $t$ of the sequence", log_x=False),
    )
