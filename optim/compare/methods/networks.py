"""Other recurrences, with the initial values of an `OrthogonalRNN`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from torchmanifold.nn import ModReLU, OrthogonalRNN

__all__ = ["CachedRNN", "CellLoop", "cached_tanh", "long_short_term_memory", "tanh"]


class CellLoop(nn.Module):
    """The recurrence of `OrthogonalRNN` as users of other libraries write it: a loop over steps.

    This is the best form of a plain loop: the input is multiplied for all steps at once, and the
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
                # Read inside the loop, as a cell does; the cache evaluates it once.
                state = self.nonlinearity(z_t + state @ self.weight_hh_l0.mT)
                states.append(state)
        return torch.stack(states), state.unsqueeze(0)


class CachedRNN(nn.RNN):
    """`nn.RNN` inside torch's `cached()`: a forward pass evaluates a parametrized kernel once."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """As `nn.RNN`."""
        with parametrize.cached():
            return super().forward(x, h)


def tanh(like: OrthogonalRNN) -> nn.RNN:
    """`nn.RNN` of the same size, with PyTorch's initial values."""
    return nn.RNN(like.input_size, like.hidden_size)


def cached_tanh(like: OrthogonalRNN) -> CachedRNN:
    """`nn.RNN` of the same size, with the same initial kernel."""
    rnn = CachedRNN(like.input_size, like.hidden_size)
    rnn.weight_hh_l0.data.copy_(like.weight_hh_l0.detach())
    return rnn


def long_short_term_memory(like: OrthogonalRNN) -> nn.LSTM:
    """`nn.LSTM` of the same size, with PyTorch's initial values and open forget gates.

    Source: Gers, Schmidhuber & Cummins, Learning to forget, 2000 (the bias of 1).
    """
    n = like.hidden_size
    lstm = nn.LSTM(like.input_size, n)
    with torch.no_grad():
        lstm.bias_ih_l0[n : 2 * n].fill_(1.0)
        lstm.bias_hh_l0[n : 2 * n].zero_()
    return lstm
