"""The network of recurrent tasks, a recurrence and a linear layer, and its gradients in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["KERNEL", "SequenceModel", "gradients_through_time"]

KERNEL = "weight_hh_l0"


class SequenceModel(nn.Module):
    """A recurrence over time-major input, and a linear layer on its states or on the last one.

    Args:
        rnn: a module with the interface of `nn.RNN`.
        hidden: size of its state.
        outputs: the number of outputs.
        every: whether to answer in every step.
    """

    def __init__(self, rnn: nn.Module, hidden: int, outputs: int, every: bool) -> None:
        super().__init__()
        self.rnn = rnn
        self.head = nn.Linear(hidden, outputs)
        self.every = every
        nn.init.kaiming_normal_(self.head.weight, nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Answers `(time, batch, outputs)`, or `(batch, outputs)` at the end."""
        states, _ = self.rnn(x)
        return self.head(states if self.every else states[-1])


def gradients_through_time(
    model: SequenceModel, loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, target: Tensor
) -> Tensor:
    """`||dL/ds_t||` for `t = 0, ..., T`, with `s_t` the whole state after `t` steps.

    `L` is the loss of the answer in only the last step, even for a network that answers in every
    step, so the gradient at `s_t` has gone through `T - t` steps of the recurrence. The state of an
    LSTM is `(h, c)`, and the gradient goes through both.

    Args:
        model: the model; it is left as it was.
        loss: a function of answers and targets.
        x: inputs `(T, batch, inputs)`.
        target: the target of `loss`.

    Returns:
        `(T + 1,)`, float64.
    """
    pair = isinstance(model.rnn, nn.LSTM)
    zero = x.new_zeros(1, x.shape[1], model.head.in_features)
    state = tuple(zero.clone().requires_grad_() for _ in range(2 if pair else 1))
    states = [state]
    # Without a graph of the kernels, because each step would evaluate them again.
    with _frozen(model), parametrize.cached():
        for x_t in x.split(1):
            _, after = model.rnn(x_t, state if pair else state[0])
            state = after if pair else (after,)
            states.append(state)
        # The output of the network is its state, so the answer reads the same tensor.
        answer = model.head(state[0] if model.every else state[0][0])
        flat = [part for parts in states for part in parts]
        value = loss(answer, target[-1:] if model.every else target)
        grads = torch.autograd.grad(value, flat, materialize_grads=True)
    squares = torch.stack([grad.double().square().sum() for grad in grads])
    return squares.view(len(states), -1).sum(-1).sqrt()


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    wanted = [p for p in model.parameters() if p.requires_grad]
    try:
        model.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_()
