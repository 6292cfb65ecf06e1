"""`torchmanifold bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from torchmanifold.cli.terminal import console, library, one_line, refuse

__all__ = ["bench"]

EXAMPLES = """\b
Examples:
  torchmanifold bench parametrize
  torchmanifold bench maps --threads 2 --json maps.json
  torchmanifold bench maps --only "cayley*"
"""


@click.command(epilog=EXAMPLES, short_help="Measure speed beside the other libraries.")
@click.argument("name", metavar="NAME")
@click.option("--threads", type=int, help="Threads of PyTorch.  [default: unchanged]")
@click.option("--repeats", type=int, help="Rounds of each piece of work.")
@click.option("--budget", type=float, help="Seconds for each contender of each piece of work.")
@click.option("--only", default="*", metavar="GLOB", help="Only pieces of work that match.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random inputs.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--quick", is_flag=True, help="Tiny sizes, to test that everything runs.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the table here.")
def bench(name: str, path: Path | None, **options: Any) -> None:
    """Measure speed beside the other libraries, in one process, in turn.

    The table has the median and quartiles of each contender's time, its ratio to ours in the same
    round, the cost in products of the same size, and the residual. NAME is maps, optim,
    parametrize, ...; an unknown name prints all names. The command needs the other libraries:
    pip install "torchmanifold[peers]".
    """
    benchmarks = library("benchmarks", "peers").BENCHMARKS
    if name not in benchmarks:
        refuse(f"unknown benchmark '{name}'; there are {', '.join(benchmarks)}")
    if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        refuse(f"--json {path}: there is no folder {path.parent} to write to")
    out = console()

    def progress(rows: list[Any]) -> None:
        out.print(f"{name}: {rows[0].work} done", soft_wrap=True)

    with one_line():
        table = benchmarks[name](progress=progress, **options)
        if path is not None:
            table.write_json(path)
    click.echo(str(table))
    if path is not None:
        out.print(f"Results: {path}", soft_wrap=True)
