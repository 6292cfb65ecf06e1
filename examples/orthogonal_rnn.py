r"""
A recurrent kernel that stays orthogonal
========================================

Each of scikit-learn's handwritten digits (8 x 8 pixels) is read one pixel at a time, and
the class is guessed after the last of the 64. The gradient at the first pixel passes 64
times through the recurrent kernel :math:`W`, so it grows or shrinks with the powers of
:math:`W`. If :math:`W` is orthogonal, those powers have norm 1.

One line keeps the kernel of :class:`torch.nn.RNN` orthogonal; the training loop and the
optimizer stay those of PyTorch. The unconstrained network trains beside it, from the same
initial weights and with the same batches. The nonlinearity is ReLU. The slope of tanh already
bounds the powers from above, and with it the unconstrained network learned faster in our runs: an
orthogonal kernel is not a cure for everything.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import torchmanifold as tm

# %%
# The images as sequences of 64 numbers, split once and for all.


def pixel_sequences() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test sequences, shape (images, 64, 1), and their classes."""
    pixels, classes = load_digits(return_X_y=True)
    sequences = torch.tensor(pixels / 16, dtype=torch.float32).unsqueeze(-1)
    labels = torch.tensor(classes)
    train, test = train_test_split(
        range(len(labels)), test_size=0.25, random_state=0, stratify=classes
    )
    return sequences[train], labels[train], sequences[test], labels[test]


# %%
# The network: a recurrent layer and a linear one that reads the last state. The initial kernel
# is a rotation in both cases, so the networks differ in the constraint alone.


class PixelReader(nn.Module):
    """Reads a sequence of pixels; the scores of the classes follow from the last state."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, hidden, nonlinearity="relu", batch_first=True)
        self.scores = nn.Linear(hidden, 10)
        with torch.no_grad():
            self.rnn.weight_hh_l0.copy_(tm.SpecialOrthogonal().random(hidden, hidden))

    def forward(self, pixels: Tensor) -> Tensor:
        _, last = self.rnn(pixels)
        return self.scores(last[0])


def train(model: nn.Module, data: tuple[Tensor, ...], steps: int, seed: int) -> list[float]:
    """Train with Adam; the loss at every step."""
    pixels, labels, *_ = data
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    order = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        batch = torch.randint(len(labels), (128,), generator=order)
        loss = nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Tensor, ...]) -> float:
    """The share of the test images whose class is found."""
    *_, pixels, labels = data
    return (model(pixels).argmax(-1) == labels).float().mean().item()


# %%
# ``tm.constrain`` is the only line in which the two networks differ.


def main(steps: int = 800, hidden: int = 64, seed: int = 0) -> dict[str, float]:
    """Train both networks and plot their losses; the test accuracy of each."""
    data = pixel_sequences()
    found = {}
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for name in ("orthogonal", "unconstrained"):
        torch.manual_seed(seed)
        model = PixelReader(hidden)
        if name == "orthogonal":
            tm.constrain(model.rnn, "weight_hh_l0", tm.SpecialOrthogonal())
        losses = train(model, data, steps, seed)
        found[name] = accuracy(model, data)
        print(f"{name:>13}: test accuracy {found[name]:.3f}")
        axes.plot(losses, label=f"{name}, test accuracy {found[name]:.3f}", linewidth=1)
        if name == "orthogonal":
            print(tm.report(model))
    axes.set(xlabel="step", ylabel="training loss (cross-entropy)")
    axes.legend()
    return found


if __name__ == "__main__":
    main()
    plt.show()
