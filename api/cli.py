"""The command line: `torchmanifold compare`, `plot`, `list` and `bench`.

The commands import what they run: matplotlib and pandas are not loaded for `--help`.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import torch
from rich.console import Console

if TYPE_CHECKING:
    from torchmanifold.optim.compare import Settings

__all__ = ["main"]

WIDTH = 140  # of tables that go to a file or a pipe
PRESETS = ("quick", "full")


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _refuse(message: str) -> NoReturn:
    raise click.UsageError(" ".join(message.split()))


def _known(kind: str, names: Iterable[str], table: Iterable[str]) -> tuple[str, ...]:
    """The names, once each, if all of them are in the table."""
    known = list(table)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
            hint = f"near matches: {', '.join(near)}; " if near else ""
            _refuse(f"unknown {kind} '{name}'; {hint}see all with: torchmanifold list")
    return tuple(dict.fromkeys(names))


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn what the library says about bad input into one line of the command line."""
    try:
        yield
    except ValueError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"cannot write {error.filename or 'the results'}: {error.strerror or error}")


# After \b click keeps the lines of a paragraph as they are.
START = """\b
Start here:
  torchmanifold compare --preset quick     the comparison, in under three minutes
  torchmanifold list                       problems, methods, manifolds
  torchmanifold compare --help             everything that can be chosen
"""
EXAMPLES = """\b
Examples:
  torchmanifold compare
  torchmanifold compare --problem pca --method riemannian-sgd --method polar-sgd
  torchmanifold compare --preset full --out results/full
  torchmanifold compare --preset full --out results/full --resume
  torchmanifold compare --device cuda --dtype float64 --lr 0.01,0.1,1
"""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT, epilog=START)
@click.version_option(package_name="torchmanifold", prog_name="torchmanifold")
def cli() -> None:
    """Manifold-constrained weights for PyTorch."""


class _Rates(click.ParamType):
    name = "rates"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(dict.fromkeys(float(part) for part in value.split(",")))
        except ValueError:
            self.fail(f"'{value}' is no list of numbers such as 0.01,0.1", param, ctx)


@cli.command(epilog=EXAMPLES, short_help="Compare parametrized with Riemannian descent.")
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default="quick",
    show_default=True,
    help="What the other options start from. quick: the main methods, float32, 3 seeds. "
    "full: all methods, float32 and float64.",
)
@click.option("--problem", "problems", multiple=True, metavar="NAME", help="Repeat for several.")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Repeat for several.")
@click.option("--steps", type=int, help="Steps of every run.")
@click.option("--seeds", type=int, help="Number of seeds.")
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--lr", "rates", type=_Rates(), help="Grid of learning rates, as in 0.01,0.1.")
@click.option(
    "--dtype", "dtypes", type=click.Choice(["float32", "float64"]), multiple=True,
    help="Repeat for both.",
)  # fmt: skip
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: cuda where there is one.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Results folder, new or empty.  [default: results/PRESET-DATE-TIME]",
)
@click.option("--resume", is_flag=True, help="Finish the runs that the folder --out lacks.")
@click.option(
    "--workers",
    type=int,
    help="Processes on the CPU, one thread each.  [default: one a core, at most 8]",
)
def compare(
    preset: str,
    problems: tuple[str, ...],
    methods: tuple[str, ...],
    steps: int | None,
    seeds: int | None,
    seed: int,
    rates: tuple[float, ...] | None,
    dtypes: tuple[str, ...],
    device: str,
    out: Path | None,
    resume: bool,
    workers: int | None,
) -> None:
    """Compare parametrized with Riemannian descent on problems with known optima.

    All methods start at the same points with the same seeds. Each takes its learning rate from
    the same small grid: the one with the smallest median final gap. The results folder gets
    runs.jsonl (every recorded step), summary.csv, figures (SVG and PNG) and report.html, one
    page that needs no network.
    """
    limits = (("--steps", steps, 10**7), ("--seeds", seeds, 10**4), ("--workers", workers, 10**3))
    for name, value, most in limits:
        if value is not None and value < 1:
            _refuse(f"{name} must be at least 1, got {value}")
        if value is not None and value > most:
            _refuse(f"{name} must be at most {most}, got {value}")
    if seed < 0:
        _refuse(f"--seed must not be negative, got {seed}")
    if seed >= 2**32:
        _refuse(f"--seed must be below 2**32, got {seed}")
    if rates and max(rates) > 1e6:
        _refuse(f"--lr must be at most 1e6, got {max(rates)}")
    if resume and out is None:
        _refuse("--resume needs --out, the folder of the run that was interrupted")
    if device == "cuda" and not torch.cuda.is_available():
        _refuse("--device cuda: PyTorch finds no CUDA device here; use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    from torchmanifold.optim import compare as tools

    base = tools.PRESETS[preset]
    names = _known("problem", problems, tools.PROBLEMS) or base.problems
    first = seed if seed else base.seeds[0]
    with _one_line():
        settings = dataclasses.replace(
            base,
            problems=names,
            methods=_known("method", methods, tools.METHODS) or base.methods,
            rates=rates or base.rates,
            steps={name: steps or base.steps[name] for name in names},
            seeds=tuple(range(first, first + (seeds or len(base.seeds)))),
            dtypes=tuple(dict.fromkeys(dtypes)) or base.dtypes,
            device=device,
        )
    out = out or Path("results") / f"{preset}-{datetime.now():%Y%m%d-%H%M%S}"
    # A GPU is one: processes would wait for each other and the seconds would mean nothing.
    cores = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    _run(settings, out, resume, 1 if device == "cuda" else workers or cores)


def _run(settings: Settings, out: Path, resume: bool, workers: int) -> None:
    from torchmanifold.optim import compare as tools

    console = _console()
    runs = list(settings.runs())
    if not runs:
        _refuse(
            "nothing to run: none of these methods applies to these problems in this precision "
            "(see: torchmanifold list)"
        )
    results = tools.Results(out)
    with _one_line():
        done = results.begin(settings, "torchmanifold " + shlex.join(sys.argv[1:]), resume)
    todo = [run for run in runs if run.key not in done]
    kept = f", {len(done)} kept" if done else ""
    console.print(
        f"{len(todo)} runs{kept} on {settings.device}, {workers} at a time -> {out}", soft_wrap=True
    )
    again = shlex.join([*sys.argv[1:], *([] if resume else ["--resume"])])
    note = "" if "--out" in again else f" --out {out}"
    finish = f"what is done is kept. Finish: torchmanifold {again}{note}"
    try:
        with tools.progress(console, todo) as advance:
            for rows in tools.execute(todo, workers):
                results.append(rows)
                advance(rows[0]["problem"])
    except KeyboardInterrupt:
        console.print(f"interrupted; {finish}", soft_wrap=True)
        sys.exit(130)
    except OSError as error:
        _refuse(f"cannot write {out}: {error.strerror or error}; {finish}")
    except BrokenExecutor:
        _refuse(f"a process of the comparison was killed; {finish}")
    with _one_line():
        summary = tools.redraw(results)
    console.print(tools.table(summary))
    console.print(f"Results: {out / 'report.html'}", soft_wrap=True)


@cli.command(
    epilog="Example:  torchmanifold plot results/full", short_help="Draw a comparison again."
)
@click.argument("results", type=click.Path(path_type=Path))
def plot(results: Path) -> None:
    """Draw the figures, summary.csv and report.html of the folder RESULTS again.

    Reads settings.json and runs.jsonl alone, also of a comparison that was interrupted.
    """
    from torchmanifold.optim import compare as tools

    console = _console()
    with _one_line():
        summary = tools.redraw(tools.Results(results))
    console.print(tools.table(summary))
    console.print(f"Results: {results / 'report.html'}", soft_wrap=True)


@cli.command("list", short_help="Print problems, methods and manifolds.")
def list_() -> None:
    """Print the problems and methods of the comparison, and what each manifold can do."""
    from torchmanifold.optim import compare as tools

    console = _console()
    for table in tools.catalog():
        console.print(table)
        console.print()


BENCH_EXAMPLES = """\b
Examples:
  torchmanifold bench parametrize
  torchmanifold bench maps --threads 2 --json maps.json
  torchmanifold bench maps --only "cayley*"
"""


@cli.command(epilog=BENCH_EXAMPLES, short_help="Measure speed beside the other libraries.")
@click.argument("name", type=click.Choice(["maps", "optim", "parametrize"]))
@click.option("--threads", type=int, help="Threads of PyTorch.  [default: as it is set]")
@click.option("--repeats", type=int, help="Rounds of each piece of work.")
@click.option("--budget", type=float, help="Seconds for each contender of each piece of work.")
@click.option("--only", default="*", metavar="GLOB", help="The pieces of work that it matches.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all random inputs.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--quick", is_flag=True, help="Tiny sizes: does everything run?")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the table there too.")
def bench(name: str, path: Path | None, **options: Any) -> None:
    """Measure speed beside the other libraries, in one process, in turn.

    Prints the median and quartiles of each contender's time, its ratio to ours in the same
    round, the cost in products of the same size, and the residual. Needs the peers:
    pip install "torchmanifold[peers]".
    """
    try:
        from torchmanifold.benchmarks import BENCHMARKS
    except ModuleNotFoundError as error:
        _refuse(f"bench needs {error.name}: pip install 'torchmanifold[peers]'")
    if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        _refuse(f"--json {path}: there is no folder {path.parent} to write to")
    console = _console()

    def progress(rows: list[Any]) -> None:
        console.print(f"{name}: {rows[0].work} done", soft_wrap=True)

    with _one_line():
        table = BENCHMARKS[name](progress=progress, **options)
        if path is not None:
            table.write_json(path)
    click.echo(str(table))
    if path is not None:
        console.print(f"Results: {path}", soft_wrap=True)


def main() -> NoReturn:
    """Run the command line; bad input is one line and exit code 2."""
    try:
        cli.main(prog_name="torchmanifold", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        print(f"torchmanifold: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        print("torchmanifold: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
