r"""
A convergence plot from a small comparison
==========================================

``torchmanifold compare`` runs problems and methods side by side, from the same initial points, and
writes a report. ``tm.compare.run`` does so from Python, and returns rows for figures of your own.

This example takes the orthogonal Procrustes problem, whose optimum is known in closed form, and
five methods. A method with a learning rate takes the best of three rates. The figure shows the
median over three seeds, with a band from the smallest to the largest value.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import torchmanifold as tm

METHODS = ("cayley-adam", "cayley-every1-sgd", "riemannian-sgd", "riemannian-adam", "trust-region")

# %%
# The result has one row for each run and recorded step: gap to the optimum, residual, seconds, and
# more. The summary names the best learning rate of each method.


def chosen_rows(steps: int, seeds: int) -> pd.DataFrame:
    """Run the comparison; the rows of each method at its best learning rate."""
    with tempfile.TemporaryDirectory() as folder:
        results = tm.compare.run(
            ["procrustes"], METHODS, seeds=seeds, steps=steps, workers=1, quiet=True,
            out=Path(folder) / "procrustes",
        )  # fmt: skip
        print(results.table())
        summary, rows = results.summary(), results.to_pandas()
    chosen = summary.loc[summary["chosen"], ["method", "config"]]
    return rows.merge(chosen, on=["method", "config"])


# %%
# The gap cannot fall below the rounding error of the optimal value, which the rows state as their
# floor. The residual shows that every method stays on the manifold throughout.


def main(steps: int = 150, seeds: int = 3) -> pd.Series:
    """Draw gap and residual against the iteration; the median gap at the end of each method."""
    rows = chosen_rows(steps, seeds)
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(6, 5), layout="constrained")
    for (method, config), mine in rows.groupby(["method", "config"], sort=False):
        mine = mine[mine["iteration"] > 0]
        for axes, values in (
            (top, mine["gap"].clip(lower=mine["floor"])),
            (bottom, mine["residual"]),
        ):
            band = values.groupby(mine["iteration"]).agg(["median", "min", "max"])
            # Dashed where a curve may cover another: rebased every step is the Riemannian update.
            dash = "--" if method.startswith("riemannian") else "-"
            label = f"{method}, {config.replace('=', ' ')}".rstrip(", ")
            (line,) = axes.loglog(band["median"], dash, label=label)
            axes.fill_between(
                band.index, band["min"], band["max"], color=line.get_color(), alpha=0.15
            )
    top.set(ylabel="gap to the optimum", title="orthogonal Procrustes, float32")
    top.legend()
    bottom.set(xlabel="iteration", ylabel="residual")
    return rows[rows["final"]].groupby("method")["gap"].median()


if __name__ == "__main__":
    main()
    plt.show()
