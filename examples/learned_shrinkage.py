r"""
Solve, plot, differentiate: shrinkage that is learned
=====================================================

Linear discriminant analysis looks for the subspace in which the classes lie furthest apart,
relative to the scatter within them. On handwritten digits (64 pixels, ten classes) the scatter
within the classes is nearly singular, so it is mixed with a multiple of the identity. This example
finds the subspace with three solvers of ``tm.minimize`` on the Grassmann manifold, and then learns
the multiple: ``tm.argmin`` differentiates the subspace in it, by the implicit function theorem, and
gradient descent reduces the loss on digits that the subspace has not seen.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import Tensor

import torchmanifold as tm

CLASSES = 10

# %%
# A tenth of the digits is for training, with few examples in each class.


def data(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training digits and labels, then those for validation."""
    digits = load_digits()
    x = torch.from_numpy(digits.data) / 16
    y = torch.from_numpy(digits.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return x[:count], y[:count], x[count:], y[count:]


def scatter(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The means of the classes, the scatter between them, and the scatter within them."""
    means = torch.stack([x[y == c].mean(0) for c in range(CLASSES)])
    apart, rest = means - means.mean(0), x - means[y]
    return means, apart.mT @ apart / CLASSES, rest.mT @ rest / len(x)


# %%
# The cost does not depend on the basis of the subspace, so the manifold is ``tm.Grassmann()``.


def cost(x: Tensor, between: Tensor, within: Tensor) -> Tensor:
    """Minus the scatter between classes relative to that within, in the subspace."""
    return -torch.linalg.solve(x.mT @ within @ x, x.mT @ between @ x).trace()


def mixed(within: Tensor, logit: Tensor) -> Tensor:
    """The scatter within classes, mixed with its mean eigenvalue."""
    share = torch.sigmoid(logit)
    mean = within.diagonal().mean() * torch.eye(len(within), dtype=within.dtype)
    return (1 - share) * within + share * mean


# %%
# The loss of the validation digits is that of a classifier by the nearest mean, in the subspace and
# relative to the scatter within the classes. It depends on the share through the subspace, too.


def validation(subspace: Tensor, within: Tensor, means: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy of the softmax of minus half the squared distances to the means."""
    factor = torch.linalg.cholesky(subspace.mT @ within @ subspace)
    seen, centres = (
        torch.linalg.solve_triangular(factor, (z @ subspace).mT, upper=False).mT for z in (x, means)
    )
    return torch.nn.functional.cross_entropy(-torch.cdist(seen, centres).square() / 2, y)


def main(count: int = 180, steps: int = 30) -> dict[str, float]:
    """Solve, learn the share, draw both; the validation losses before and after."""
    train, labels, rest, answers = data(count)
    means, between, within = scatter(train, labels)
    M = tm.Grassmann()
    generator = torch.Generator().manual_seed(0)
    x0 = M.random(train.shape[1], CLASSES - 1, dtype=train.dtype, generator=generator)
    logit = torch.tensor(-4.0, dtype=train.dtype, requires_grad=True)

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    start = mixed(within, logit.detach())
    for method, style in (("trust-region", "o-"), ("lbfgs", "--"), ("cg", ":")):
        result = tm.minimize(
            cost, x0, M, method, args=(between, start), tol=1e-9,
            record=("gradient_norm", "nfev"), stop=tm.stop.Iterations(3000),
        )  # fmt: skip
        print(f"{method:>13}: {result.nit} iterations, {result.message}")
        history = result.history
        left.semilogy(history["nfev"], history["gradient_norm"], style, ms=3, label=method)
    left.set(xlabel="evaluations of the cost", ylabel="norm of the Riemannian gradient")
    left.set_title("One subspace, three solvers")
    left.legend()

    # One linear solve differentiates the subspace in the share: no iteration is kept.
    optimizer = torch.optim.Adam([logit], lr=0.15)
    losses, x = [], result.x
    for _ in range(steps):
        now = mixed(within, logit)
        x = tm.argmin(cost, x.detach(), M, args=(between, now), tol=1e-8)
        loss = validation(x, now, means, rest, answers)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    share = torch.sigmoid(logit).item()
    print(f"shrinkage {share:.3f}: validation loss {losses[0]:.3f} before, {losses[-1]:.3f} after")
    right.plot(range(1, steps + 1), losses, "o-", ms=3)
    right.set(xlabel="step of Adam on the shrinkage", ylabel="validation loss")
    right.set_title(f"Learned shrinkage: {share:.2f}")
    return {"before": losses[0], "after": losses[-1], "share": share}


if __name__ == "__main__":
    main()
    plt.show()
