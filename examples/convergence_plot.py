r"""
A convergence plot from a small comparison
==========================================

``torchmanifold compare`` runs problems and methods side by side, from the same starts, and
writes a report. Its parts serve a script as well: say what to run, collect the rows, and
draw what you want to see.

Here: the orthogonal Procrustes problem, whose optimum is known in closed form, with four
methods at three learning rates. Each method is drawn at the rate with which it ends best, as
the median over three starts with a band from the least to the greatest.
"""

import matplotlib.pyplot as plt
import pandas as pd

from torchmanifold.optim.compare.run import execute
from torchmanifold.optim.compare.settings import Settings

METHODS = ("cayley-adam", "cayley-every1-sgd", "riemannian-sgd", "riemannian-adam")

# %%
# One row for each run and recorded step: gap to the optimum, residual, seconds, and more.


def rows_of(steps: int, seeds: int) -> pd.DataFrame:
    """Run the comparison and gather its rows."""
    settings = Settings(
        problems=("procrustes",),
        methods=METHODS,
        rates=(0.003, 0.03, 0.3),
        steps={"procrustes": steps},
        seeds=tuple(range(seeds)),
    )
    return pd.DataFrame([row for run in execute(settings.runs()) for row in run])


def best_rates(rows: pd.DataFrame) -> pd.Series:
    """For each method, the rate with the least median gap at the end; divergence counts last."""
    last = rows[rows["final"]]
    gap = last["gap"].where(~last["diverged"], float("inf"))
    return gap.groupby([last["method"], last["lr"]]).median().unstack().idxmin(axis="columns")


# %%
# The gap cannot fall below the rounding of the optimal value, which the rows state as their
# floor; the residual shows that every method stays on the manifold all the way.


def main(steps: int = 150, seeds: int = 3) -> pd.Series:
    """Draw gap and residual against the iteration; the median gap at the end of each method."""
    rows = rows_of(steps, seeds)
    rates = best_rates(rows)
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(6, 5), layout="constrained")
    for method, lr in rates.items():
        mine = rows[(rows["method"] == method) & (rows["lr"] == lr) & (rows["iteration"] > 0)]
        for axes, values in (
            (top, mine["gap"].clip(lower=mine["floor"])),
            (bottom, mine["residual"]),
        ):
            band = values.groupby(mine["iteration"]).agg(["median", "min", "max"])
            # Dashed where a curve may cover another: rebased every step is the Riemannian update.
            dash = "--" if method.startswith("riemannian") else "-"
            (line,) = axes.loglog(band["median"], dash, label=f"{method}, rate {lr:g}")
            axes.fill_between(
                band.index, band["min"], band["max"], color=line.get_color(), alpha=0.15
            )
    top.set(ylabel="gap to the optimum", title="orthogonal Procrustes, float32")
    top.legend()
    bottom.set(xlabel="iteration", ylabel="residual")

    chosen = rows[rows["final"] & (rows["lr"] == rows["method"].map(rates))]
    gaps = chosen.groupby("method")["gap"].median()
    print(gaps.to_string())
    return gaps


if __name__ == "__main__":
    main()
    plt.show()
