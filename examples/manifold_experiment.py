r"""
Parametrized, Riemannian, and between the two
=============================================

The dominant :math:`p`-dimensional subspace of data with covariance :math:`C` minimizes
:math:`-\operatorname{tr}(X^\top C X)` over the :math:`n \times p` matrices with orthonormal
columns, the Stiefel manifold. A weight can move on it in two ways:

* *parametrized*: PyTorch's own SGD moves free coordinates :math:`v`, and the weight is
  :math:`R_b(v)`, with a fixed base :math:`b`;
* *Riemannian*: the weight itself moves along its Riemannian gradient.

Both use the same retraction :math:`R`. Moving the base to the current weight every
:math:`K` steps turns the first into the second. At :math:`K = 1` they are the same method,
and this script measures the difference of their results.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import torchmanifold as tm

# %%
# The data: scikit-learn's handwritten digits, 64 pixels, scaled so that the largest
# eigenvalue of the covariance is 1.


def covariance() -> Tensor:
    """Covariance of the digits' pixels, 64 x 64, with largest eigenvalue 1."""
    pixels = torch.tensor(load_digits().data)
    c = torch.cov(pixels.T)
    return c / torch.linalg.matrix_norm(c, ord=2)


class Subspace(nn.Module):
    """A basis of a subspace; its value is minus the variance that the subspace holds."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.basis = nn.Parameter(start.clone())

    def forward(self, c: Tensor) -> Tensor:
        basis = self.basis
        return -(basis * (c @ basis)).sum()


# %%
# One function serves all ways. The argument ``every`` is the dial: ``None`` never moves the base,
# and ``1`` moves it after every step.


def descend(start: Tensor, c: Tensor, how: str, every: int | None, steps: int) -> tuple:
    """The final basis and the objective before each step."""
    model = tm.constrain(Subspace(start), "basis", tm.Stiefel(), how=how)
    if how == "riemannian":
        optimizer = tm.optim.RiemannianSGD(model, lr=0.5, momentum=0.9)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        if every is not None:
            tm.optim.rebase_every(model, optimizer, steps=every)
    values = []
    for _ in range(steps):
        value = model(c)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return model.basis.detach(), values


# %%
# The optimum is known: minus the sum of the :math:`p` largest eigenvalues.


def main(steps: int = 200, p: int = 10, seed: int = 0) -> dict[str, float]:
    """Descend in four ways and plot the gap to the optimum; the last gap of each."""
    c = covariance()
    generator = torch.Generator().manual_seed(seed)
    start = tm.Stiefel().random(len(c), p, generator=generator, dtype=c.dtype)
    optimum = -torch.linalg.eigvalsh(c)[-p:].sum().item()

    ways = {
        "parametrized": ("parametrized", None),
        "rebased every 20": ("parametrized", 20),
        "rebased every step": ("parametrized", 1),
        "Riemannian": ("riemannian", None),
    }
    # Two curves coincide: the lower one is wide and pale, so that both are visible.
    styles = {
        "parametrized": {"color": "tab:blue", "linestyle": "--"},
        "rebased every 20": {"color": "tab:orange"},
        "rebased every step": {"color": "tab:blue", "linewidth": 5, "alpha": 0.4},
        "Riemannian": {"color": "black", "linewidth": 1},
    }
    figure, axes = plt.subplots(figsize=(7, 3.3), layout="constrained")
    last, gaps = {}, {}
    for name, (how, every) in ways.items():
        last[name], values = descend(start, c, how, every, steps)
        gap = [value - optimum for value in values]
        gaps[name] = gap[-1]
        axes.semilogy(gap, label=name, **styles[name])
        print(f"{name:>18}: gap {gaps[name]:.2e}")
    axes.set(xlabel="step", ylabel="gap to the optimum", xlim=(0, steps))
    axes.grid(alpha=0.3)
    axes.legend()

    difference = (last["rebased every step"] - last["Riemannian"]).abs().max().item()
    print(f"rebased every step against Riemannian, largest difference: {difference:.1e}")
    return {**gaps, "difference": difference}


if __name__ == "__main__":
    main()
    plt.show()
