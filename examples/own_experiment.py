r"""
An experiment of your own
=========================

``tm.compare`` runs your problems and methods beside those of the library. One decorator makes a
problem, and another makes a method. A problem states its loss, an initial point, and its optimum if
that is known. A method turns a model into an optimizer, a solver, or a function that makes a step.
The same file serves the command line, ``torchmanifold compare own_experiment.py --method
trust-region --seeds 5``.

This example compares heavy-ball steps with methods of the library on the relaxation of max-cut by
Burer and Monteiro, whose points are matrices with columns of unit length.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

import torchmanifold as tm

# %%
# A problem and a method in twenty lines.


@tm.compare.problem(manifold=tm.Oblique(), title="max-cut relaxation")
def maxcut(generator: torch.Generator, nodes: int = 24, rank: int = 7) -> tm.compare.Instance:
    """A random graph, the same for all seeds; the seed draws the first point."""
    fixed = torch.Generator().manual_seed(0)
    edges = (torch.rand(nodes, nodes, generator=fixed) < 0.3).double().triu(1)
    weights = edges + edges.mT
    laplacian = torch.diag(weights.sum(1)) - weights
    return tm.compare.Instance(
        loss=lambda x, a: -(x * (x @ a)).sum() / a.trace(),
        initial=tm.Oblique().random(rank, nodes, generator=generator, dtype=torch.float64),
        data=(laplacian,),
    )


@tm.compare.method(grid={"lr": [1.0, 5.0]})
def heavy_ball(model: torch.nn.Module, config: tm.compare.Config) -> torch.optim.Optimizer:
    """Riemannian SGD with momentum."""
    return tm.optim.RiemannianSGD(model, lr=config["lr"], momentum=0.9)


# %%
# The results are a table, figures, a report of one page, and a data frame of pandas.


def main(steps: int = 100, seeds: int = 3) -> pd.DataFrame:
    """Compare, print the table, and draw the loss against the evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        results = tm.compare.run(
            [maxcut], [heavy_ball, "riemannian-adam", "trust-region", "lbfgs"],
            seeds=seeds, steps=steps, workers=1, quiet=True, out=Path(folder) / "maxcut",
        )  # fmt: skip
        print(results.table())
        summary, rows = results.summary(), results.to_pandas()
    best = rows["loss"].min()
    chosen = rows.merge(summary.loc[summary["chosen"], ["method", "config"]])
    _, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for method, mine in chosen[chosen["evaluations"] > 0].groupby("method", sort=False):
        curve = mine.groupby("iteration")[["evaluations", "loss"]].median()
        axes.loglog(curve["evaluations"], curve["loss"] - best + 1e-9, label=method)
    axes.set(xlabel="evaluations", ylabel="loss above the best", title="max-cut relaxation")
    axes.legend()
    return summary[summary["chosen"]]


if __name__ == "__main__":
    main()
    plt.show()
