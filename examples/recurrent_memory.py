r"""
From an RNN that forgets to one that remembers
==============================================

A network reads one of eight symbols, then nothing for 200 steps, then a cue, and must name the
symbol. An ordinary RNN and an LSTM learn nothing here, because the gradient passes 200 times
through the recurrent kernel and vanishes before it reaches the first step. With an orthogonal
kernel it does not vanish, and some fifty steps of training solve the task.

This page begins with two networks that fail, and changes one line to get one that works. It ends
with a network of your own: an LSTM whose gates are constrained one by one, trained, saved, loaded
and freed again.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import torchmanifold as tm

SYMBOLS = 8

# %%
# The task
# --------
# A symbol is a unit vector at the first step; the ninth entry is the cue at the last one.


def recall(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sequences, shape (batch, length, 9), and the symbols to recall."""
    symbols = torch.randint(SYMBOLS, (batch,), generator=generator)
    sequences = torch.zeros(batch, length, SYMBOLS + 1)
    sequences[torch.arange(batch), 0, symbols] = 1
    sequences[:, -1, SYMBOLS] = 1
    return sequences, symbols


class Reader(nn.Module):
    """Any recurrent network of PyTorch's interface, and scores read off its last output."""

    def __init__(self, rnn: nn.Module, hidden: int) -> None:
        super().__init__()
        self.rnn = rnn
        self.scores = nn.Linear(hidden, SYMBOLS)

    def forward(self, sequences: Tensor) -> Tensor:
        """The scores of the symbols."""
        outputs, _ = self.rnn(sequences)
        return self.scores(outputs[:, -1])


# %%
# The training loop and the optimizer are ordinary ones of PyTorch.


def train(model: Reader, length: int, steps: int, seed: int) -> list[float]:
    """Train on fresh sequences with RMSprop; the loss of every step."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        sequences, symbols = recall(64, length, generator)
        loss = nn.functional.cross_entropy(model(sequences), symbols)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(model: Reader, length: int, seed: int) -> float:
    """The share of 512 new sequences that are recalled."""
    sequences, symbols = recall(512, length, torch.Generator().manual_seed(seed + 1))
    return (model(sequences).argmax(-1) == symbols).float().mean().item()


# %%
# One line
# --------
# The two networks that fail, and the one that works. The interface of
# :class:`~torchmanifold.nn.recurrent.OrthogonalRNN` is that of :class:`torch.nn.RNN`. Its kernel
# is a rotation before training and after each step, and its nonlinearity, modReLU, has slope 0 or
# 1.


def networks(hidden: int) -> dict[str, nn.Module]:
    """The recurrent networks to compare, for sequences with the batch in front."""
    inputs = SYMBOLS + 1
    return {
        "nn.RNN": nn.RNN(inputs, hidden, batch_first=True),
        "nn.LSTM": nn.LSTM(inputs, hidden, batch_first=True),
        "tm.nn.OrthogonalRNN": tm.nn.OrthogonalRNN(inputs, hidden, batch_first=True),
    }


# %%
# The gradient of the loss at the input of each step shows the reason before any training. A network
# can learn from the first step only if the gradient reaches it.


def gradient_through_time(model: Reader, length: int, seed: int) -> Tensor:
    """The norm of the loss gradient at the input of each step, on 64 sequences."""
    sequences, symbols = recall(64, length, torch.Generator().manual_seed(seed))
    sequences.requires_grad_()
    loss = nn.functional.cross_entropy(model(sequences), symbols)
    (gradient,) = torch.autograd.grad(loss, sequences)
    return gradient.norm(dim=(0, 2))


# %%
# A network of your own
# ---------------------
# A network needs no layers of this library. ``tm.constrain`` takes any module and the names of its
# weights; here one call takes all kernels of a bidirectional LSTM of two layers. Each kernel stacks
# the square blocks of four gates, and ``blocks=4`` makes each block a rotation.
#
# The state dict of a constrained network loads into one that is constrained in the same way.
# ``tm.unconstrain`` makes plain weights again, with their values, for users without this library.
#
# The constraint keeps the kernels orthogonal, and does no more. The gates of an LSTM still multiply
# its state by numbers below 1, so orthogonal kernels alone do not make an LSTM solve the task
# above.


def own_network(hidden: int, length: int, steps: int, seed: int) -> float:
    """Constrain, train, save, load and free an LSTM; the change of its scores by the last three."""
    inputs = SYMBOLS + 1

    def build() -> Reader:
        lstm = nn.LSTM(inputs, hidden, num_layers=2, bidirectional=True, batch_first=True)
        tm.constrain(lstm, "weight_hh_l*", tm.SpecialOrthogonal(), blocks=4)
        return Reader(lstm, 2 * hidden)

    model = build()
    train(model, length, steps, seed)
    print(tm.report(model))

    sequences, _ = recall(4, length, torch.Generator().manual_seed(seed))
    wanted = model(sequences)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder) / "model.pt")
        loaded = build()
        loaded.load_state_dict(torch.load(Path(folder) / "model.pt"))
    moved = (loaded(sequences) - wanted).abs().max().item()

    tm.unconstrain(loaded.rnn, "weight_hh_l*")
    assert type(loaded.rnn) is nn.LSTM and not tm.is_constrained(loaded)
    return max(moved, (loaded(sequences) - wanted).abs().max().item())


# %%
# The result
# ----------
# Chance is a loss of :math:`\ln 8 = 2.08` and an accuracy of 1/8.


def main(steps: int = 80, length: int = 200, hidden: int = 64, seed: int = 0) -> dict[str, float]:
    """Train the three networks and plot; the accuracy of each, and how far saving moves scores."""
    found = {}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    torch.manual_seed(seed)
    for name, rnn in networks(hidden).items():
        model = Reader(rnn, hidden)
        right.semilogy(gradient_through_time(model, length, seed), label=name)
        left.plot(train(model, length, steps, seed), label=name)
        found[name] = accuracy(model, length, seed)
        print(f"{name:>19}: recalls {found[name]:.3f}")
    left.set(xlabel="training step", ylabel="loss (cross-entropy)", ylim=(0, 3))
    left.axhline(torch.tensor(float(SYMBOLS)).log(), color="k", linestyle=":", linewidth=1)
    right.set(xlabel="step of the sequence", ylabel="gradient at its input, at the start")
    left.legend()
    found["moved"] = own_network(hidden // 2, length=20, steps=steps // 4, seed=seed)
    print(f"an LSTM saved, loaded and freed: its scores move by {found['moved']:.1e}")
    return found


if __name__ == "__main__":
    main()
    plt.show()
