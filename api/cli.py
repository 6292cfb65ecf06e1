"""The command line: `torchmanifold compare`, `plot`, `list` and `bench`.

The commands import what they run: matplotlib and pandas are not loaded for `--help`.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import torch
from click.core import ParameterSource
from rich.console import Console

if TYPE_CHECKING:
    from torchmanifold.optim.compare.settings import Plan

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
  torchmanifold compare rnn-copy --length 200 --method exp --method lstm
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


@cli.group(
    epilog=EXAMPLES,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND [ARGS]...]",
    short_help="Compare parametrized with Riemannian descent.",
)
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
@click.pass_context
def compare(
    context: click.Context,
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

    The commands compare recurrent networks on the field's tasks and have options of their own.
    """
    if context.invoked_subcommand is not None:
        given = [name for name in context.params if _given(context, name)]
        if given:
            _refuse(
                f"options of {context.invoked_subcommand} come after its name; before it stands "
                f"{', '.join(given)}"
            )
        return
    limits = (("--steps", steps, 10**7), ("--seeds", seeds, 10**4), ("--workers", workers, 10**3))
    _check(limits, seed, rates or (), resume, out)
    device = _device(device)
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
    _run(settings, out, resume, _workers(device, workers), tools.perform)


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _check(
    limits: Iterable[tuple[str, int | None, int]],
    seed: int,
    rates: Iterable[float],
    resume: bool,
    out: Path | None,
) -> None:
    """Refuse numbers out of range, and a resumption of nothing."""
    for name, value, most in limits:
        if value is not None and value < 1:
            _refuse(f"{name} must be at least 1, got {value}")
        if value is not None and value > most:
            _refuse(f"{name} must be at most {most}, got {value}")
    if seed < 0:
        _refuse(f"--seed must not be negative, got {seed}")
    if seed >= 2**32:
        _refuse(f"--seed must be below 2**32, got {seed}")
    if any(rate > 1e6 for rate in rates):
        _refuse(f"--lr must be at most 1e6, got {max(rates)}")
    if resume and out is None:
        _refuse("--resume needs --out, the folder of the run that was interrupted")


def _device(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        _refuse("--device cuda: PyTorch finds no CUDA device here; use auto or cpu")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _workers(device: str, workers: int | None) -> int:
    # A GPU is one: processes would wait for each other and the seconds would mean nothing.
    cores = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    return 1 if device == "cuda" else workers or cores


def _run(
    settings: Plan,
    out: Path,
    resume: bool,
    workers: int,
    perform: Callable[[Any], list[dict[str, Any]]],
) -> None:
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
            for rows in tools.execute(todo, workers, perform):
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


class _MethodRates(click.ParamType):
    name = "rates"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str | None, tuple[float, ...]]:
        if isinstance(value, tuple):
            return value
        method, equals, numbers = value.rpartition("=")
        return method if equals else None, _Rates().convert(numbers, param, ctx)


def _recurrent_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all recurrent tasks share."""
    for option in reversed((
        click.option("--hidden", type=int, help="Size of the state.  [default: the preset's]"),
        click.option("--batch", type=int, help="Sequences of a step.  [default: the preset's]"),
        click.option("--method", "methods", multiple=True, metavar="NAME",
                     help="Repeat for several.  [default: all; see torchmanifold list]"),
        click.option("--lr", "rates", type=_MethodRates(), multiple=True,
                     metavar="[METHOD=]RATES",
                     help="Learning rates as in 1e-3,3e-4, for all methods or for one; repeat for "
                     "several methods. The best of several is shown.  [default: the preset's]"),
        click.option("--kernel-factor", type=float, default=0.1, show_default=True,
                     help="Rate of an orthogonal kernel in units of --lr."),
        click.option("--init", type=click.Choice(["henaff", "cayley", "haar", "identity"]),
                     help="Start of orthogonal kernels.  [default: the preset's]"),
        click.option("--seeds", type=int, default=1, show_default=True, help="Number of seeds."),
        click.option("--seed", type=int, default=0, show_default=True, help="The first seed."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto",
                     show_default=True, help="auto: cuda where there is one."),
        click.option("--threads", type=int, default=1, show_default=True,
                     help="Of PyTorch, in each process."),
        click.option("--workers", type=int, default=1, show_default=True,
                     help="Runs at a time on the CPU, a process each."),
        click.option("--out", type=click.Path(path_type=Path),
                     help="Results folder, new or empty.  [default: results/TASK-DATE-TIME]"),
        click.option("--resume", is_flag=True,
                     help="Go on in the folder --out, from its checkpoints."),
        click.option("--tensorboard", is_flag=True,
                     help="Log to OUT/tensorboard too; needs: pip install tensorboard."),
    )):  # fmt: skip
        command = option(command)
    return command


def _iterations(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--iterations", "steps", type=int, help="Training steps.  [default: the preset's]"
    )(command)


@compare.command("rnn-copy", short_help="Recurrent networks on copying memory.")
@click.option("--preset", type=click.Choice(["small", "published"]), default="small",
              show_default=True, help="published: the sizes of expRNN, L = 1000.")  # fmt: skip
@click.option(
    "--length", type=int, help="L, blanks in between.  [default: the preset's, 200 or 1000]"
)
@click.option("--recall", type=int, default=10, show_default=True, help="K, symbols to recall.")
@_iterations
@_recurrent_options
def rnn_copy(recall: int, **options: Any) -> None:
    """Copying memory: K symbols of 8, L blanks, and the same symbols to be given again.

    The figure has the loss of the best answer without memory, K ln 8 / (L + 2K).
    """
    _recurrent("rnn-copy", options, recall=recall)


@compare.command("rnn-adding", short_help="Recurrent networks on the adding problem.")
@click.option("--preset", type=click.Choice(["small"]), default="small", show_default=True)
@click.option("--length", type=int, help="Steps of a sequence.  [default: the preset's, 200]")
@_iterations
@_recurrent_options
def rnn_adding(**options: Any) -> None:
    """The adding problem: the sum of two marked numbers of a long sequence.

    The figure has the loss of the best answer without memory, 1/6.
    """
    _recurrent("rnn-adding", options)


@compare.command("rnn-mnist", short_help="Recurrent networks on digits, pixel by pixel.")
@click.option(
    "--preset",
    type=click.Choice(["small", *(f"published-{o}{n}" for o in ("", "permuted-")
                                  for n in (170, 360, 512))]),
    default="small", show_default=True, help="published: expRNN's sizes and rates.",
)  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the IDX files of MNIST, "
              "compressed or not.  [default: the small digits of scikit-learn]")  # fmt: skip
@click.option("--download", is_flag=True, help="Fetch what the folder --data lacks.")
@click.option("--permuted", is_flag=True, help="The pixels in a fixed random order.")
@click.option("--pool", type=int, default=1, show_default=True,
              help="Average squares of that side first; 2 makes 14 x 14 of 28 x 28.")  # fmt: skip
@click.option("--epochs", "steps", type=int, help="Passes over the training images.")
@_recurrent_options
def rnn_mnist(data: Path | None, download: bool, permuted: bool, pool: int, **options: Any) -> None:
    """Digits whose pixels come one a step.

    Without --data they are the 1797 of scikit-learn, 8 x 8. A folder that has the 10,000 test
    images of MNIST alone is divided: 8,000 for training and 2,000 for testing.
    """
    if download and data is None:
        _refuse("--download needs --data, the folder to put the files into")
    permuted = permuted or options["preset"].startswith("published-permuted")
    _recurrent("rnn-mnist", options, data=data, download=download, permuted=permuted, pool=pool)


def _recurrent(name: str, options: dict[str, Any], **task: Any) -> None:
    limits = [
        (f"--{key}", options.get(key), most)
        for key, most in (("length", 10**6), ("hidden", 10**5), ("batch", 10**6), ("seeds", 10**4),
                          ("threads", 10**3), ("workers", 10**3))
    ]  # fmt: skip
    limits.append(("--epochs" if name == "rnn-mnist" else "--iterations", options["steps"], 10**9))
    out, resume = options["out"], options["resume"]
    rates = [rate for _, some in options["rates"] for rate in some]
    _check(limits, options["seed"], rates, resume, out)
    device = _device(options["device"])
    from torchmanifold.optim.compare import recurrent

    size = recurrent.SIZES[name][options["preset"]]
    methods = _known("method", options["methods"], recurrent.RECURRENT)
    methods = methods or tuple(m.name for m in recurrent.RECURRENT.values() if m.default)
    grid = recurrent.rates_of(size)
    for method, some in sorted(options["rates"], key=lambda pair: pair[0] is not None):
        grid |= dict.fromkeys([method] if method is not None else list(grid), some)
    _known("method", grid, recurrent.RECURRENT)
    for method, _ in options["rates"]:
        if method is not None and method not in methods:
            _refuse(f"--lr {method}=...: {method} is not among the methods of this comparison")
    if options["tensorboard"]:
        with _one_line():
            recurrent.require_tensorboard()
    with _one_line():
        if task.pop("download", False):
            recurrent.download(task["data"])
        if size.length is not None:
            task["length"] = options["length"] or size.length
        made = size.task(**task)
        batch, steps = options["batch"] or size.batch, options["steps"] or size.steps
        record = max(1, steps // recurrent.RECORDS)
        if isinstance(made, recurrent.Pixels):
            epoch = made.epoch(batch)
            steps, record = steps * epoch, record * epoch
        settings = recurrent.RecurrentSettings(
            task=made,
            methods=methods,
            rates={method: grid[method] for method in methods},
            steps=steps,
            record=record,
            seeds=tuple(range(options["seed"], options["seed"] + options["seeds"])),
            hidden=options["hidden"] or size.hidden,
            batch=batch,
            init=options["init"] or size.init,
            kernel_factor=options["kernel_factor"],
            device=device,
            threads=options["threads"],
        )
    out = out or Path("results") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    perform = partial(
        recurrent.train,
        folder=out / "checkpoints",
        threads=options["threads"],
        say=partial(print, flush=True),
        log=recurrent.TensorBoard(out / "tensorboard") if options["tensorboard"] else None,
    )
    _run(settings, out, resume, _workers(device, options["workers"]), perform)


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
