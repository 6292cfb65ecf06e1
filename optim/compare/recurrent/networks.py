"""The networks of the comparison: a recurrence, and a linear layer on its states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from torchmanifold.nn import ModReLU, OrthogonalRNN
from torchmanifold.weights import unconstrain

__all__ = [
    "KERNEL",
    "CachedRNN",
    "CellLoop",
    "SequenceModel",
    "cached_tanh",
    "gradients_through_time",
    "long_short_term_memory",
    "plain_modrelu",
    "tanh",
]

KERNEL = "weight_hh_l0"


class SequenceModel(nn.Module):
    """A recurrence over time-major input, and a linear layer on its states or on the last one.

    Args:
        rnn: with the interface of `nn.RNN`.
        hidden: size of its state.
        outputs: numbers to give.
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


class CellLoop(nn.Module):
    """The recurrence of `OrthogonalRNN` as users of other libraries write it: a loop over steps.

    The best form that a plain loop has: the input is multiplied for all steps at once, and the
    kernel is evaluated once, inside torch's `cached()`.

    Args:
        like: a network whose weights are copied; its kernel becomes a plain parameter.

    Source: the example `copying_memory.py` of geotorch, which multiplies the input step by step.
    """

    def __init__(self, like: OrthogonalRNN) -> None:
        super().__init__()
        hidden, inputs = like.weight_ih_l0.shape
        self.input = nn.Linear(inputs, hidden, bias=False)
        self.weight_hh_l0 = nn.Parameter(like.weight_hh_l0.detach().clone())
        self.nonlinearity = ModReLU(hidden)
        with torch.no_grad():
            self.input.weight.copy_(like.weight_ih_l0)
            self.nonlinearity.bias.copy_(like.bias_ih_l0)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States `(time, batch, hidden)` and the last one, `(1, batch, hidden)`."""
        with parametrize.cached():
            z = self.input(x)
            state = torch.zeros_like(z[0]) if h is None else h[0]
            states = []
            for z_t in z.unbind(0):
                # Inside the loop, as a cell reads it: the cache makes it one evaluation.
                state = self.nonlinearity(z_t + state @ self.weight_hh_l0.mT)
                states.append(state)
        return torch.stack(states), state.unsqueeze(0)


class CachedRNN(nn.RNN):
    """`nn.RNN` inside torch's `cached()`: a parametrized kernel is evaluated once a forward."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """As `nn.RNN`."""
        with parametrize.cached():
            return super().forward(x, h)


def tanh(like: OrthogonalRNN) -> nn.RNN:
    """`nn.RNN` of the same size, with PyTorch's start."""
    return nn.RNN(like.input_size, like.hidden_size)


def cached_tanh(like: OrthogonalRNN) -> CachedRNN:
    """`nn.RNN` of the same size that starts at the same kernel."""
    rnn = CachedRNN(like.input_size, like.hidden_size)
    rnn.weight_hh_l0.data.copy_(like.weight_hh_l0.detach())
    return rnn


def long_short_term_memory(like: OrthogonalRNN) -> nn.LSTM:
    """`nn.LSTM` of the same size, with PyTorch's start and open forget gates.

    Source: Gers, Schmidhuber & Cummins, Learning to forget, 2000 (the bias of 1).
    """
    n = like.hidden_size
    lstm = nn.LSTM(like.input_size, n)
    with torch.no_grad():
        lstm.bias_ih_l0[n : 2 * n].fill_(1.0)
        lstm.bias_hh_l0[n : 2 * n].zero_()
    return lstm


def plain_modrelu(like: OrthogonalRNN) -> OrthogonalRNN:
    """The same network at the same start, whose kernel is free."""
    unconstrain(like, KERNEL)
    return like


def gradients_through_time(
    model: SequenceModel, loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, target: Tensor
) -> Tensor:
    """`||dL/ds_t||` for `t = 0, ..., T`, with `s_t` the whole state after `t` steps.

    `L` is the loss of the answer in the last step alone, also of a network that answers in every
    step: what comes back to `s_t` has gone through `T - t` steps of the recurrence. The state of
    an LSTM is `(h, c)`, and the gradient comes back through both.

    Args:
        model: where to differentiate; it is left as it was.
        loss: of answers and targets.
        x: inputs `(T, batch, inputs)`.
        target: as `loss` takes it.

    Returns:
        `(T + 1,)`, float64.
    """
    pair = isinstance(model.rnn, nn.LSTM)
    zero = x.new_zeros(1, x.shape[1], model.head.in_features)
    state = tuple(zero.clone().requires_grad_() for _ in range(2 if pair else 1))
    states = [state]
    # Without a graph of the kernels, which would be evaluated once a step.
    with _frozen(model), parametrize.cached():
        for x_t in x.split(1):
            _, after = model.rnn(x_t, state if pair else state[0])
            state = after if pair else (after,)
            states.append(state)
        # What the network gives out is its state, so the answer reads the same tensor.
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
