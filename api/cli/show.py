"""`torchmanifold plot` and `torchmanifold list`."""

from __future__ import annotations

from pathlib import Path

import click

from torchmanifold.cli.terminal import console, library, one_line

__all__ = ["list_", "plot"]


@click.command(
    epilog="Example:  torchmanifold plot results/full", short_help="Draw a comparison again."
)
@click.argument("results", type=click.Path(path_type=Path))
def plot(results: Path) -> None:
    """Draw the figures, summary.csv and report.html of the folder RESULTS again.

    The command reads only settings.json and runs.jsonl, also of an interrupted comparison.
    """
    with one_line():
        found = library("optim.compare", "compare").Results(results)
        page = found.report()
        console().print(found.table())
    console().print(f"Results: {page}", soft_wrap=True)


@click.command("list", short_help="Print problems, methods and manifolds.")
def list_() -> None:
    """Print the problems and methods of the comparison, and the tables of each manifold."""
    for table in library("optim.compare", "compare").catalog():
        console().print(table)
        console().print()
