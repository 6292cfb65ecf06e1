"""`torchmanifold compare`."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from torchmanifold.cli.parameters import Values, configured, problems_of, words_of
from torchmanifold.cli.terminal import console, library, one_line, refuse

__all__ = ["compare"]

EXAMPLES = """\b
Examples:
  torchmanifold compare
  torchmanifold compare pca --method riemannian-sgd --method trust-region
  torchmanifold compare --preset full --out results/full
  torchmanifold compare --preset full --out results/full --resume
  torchmanifold compare rnn-copy --length 200 --method exp --method lstm
  torchmanifold compare transformer --width 32,96
  torchmanifold compare my_experiment.py --method trust-region --seeds 5
"""
WATCH = 10.0  # seconds between two pages
MOST = {"--steps": 10**9, "--seeds": 10**4, "--workers": 10**4, "--threads": 10**3}


@click.command(
    epilog=EXAMPLES,
    short_help="Compare methods on problems.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[PROBLEM]...")
@click.option(
    "--preset",
    default="quick",
    show_default=True,
    help="quick: the main methods, float32, 3 seeds. full: all methods, float32 and "
    "float64. suite: descent and solvers on the field's problems, float64. Or one of the "
    "problem's own, see: torchmanifold list.",
)
@click.option("--problem", "problems", multiple=True, metavar="NAME", help="As the argument.")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Repeat for several.")
@click.option(
    "--steps",
    "--iterations",
    "steps",
    type=int,
    help="Steps of every run.  [default: the problem's]",
)
@click.option("--seeds", type=int, help="Number of seeds.  [default: 3; 1 for networks]")
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@click.option(
    "--lr",
    "rates",
    type=Values("lr"),
    multiple=True,
    metavar="[METHOD=]RATES",
    help="Learning rates such as 0.01,0.1, for all methods or for one. The best is shown.",
)
@click.option(
    "--grid",
    type=Values(),
    multiple=True,
    metavar="[METHOD:]NAME=VALUES",
    help="Values of another hyperparameter, such as momentum=0.5,0.9.",
)
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice(["float32", "float64"]),
    multiple=True,
    help="Repeat for both.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: cuda if available.",
)
@click.option(
    "--threads", type=int, default=1, show_default=True, help="PyTorch threads of each process."
)
@click.option(
    "--workers", type=int, help="Simultaneous runs.  [default: cores, at most 8; 1 for networks]"
)
@click.option(
    "--engine",
    default="local",
    show_default=True,
    metavar="ENGINE",
    help="local: processes here. dask, dask=tcp://HOST:PORT, slurm, slurm=CONFIG.yml: a cluster.",
)
@click.option("--time-limit", type=float, help="Seconds after which a run ends as failed.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Results folder, new or empty.  [default: results/NAME-DATE-TIME]",
)
@click.option("--resume", is_flag=True, help="Finish the runs that the folder --out lacks.")
@click.option(
    "--watch",
    is_flag=True,
    help="Write the report every 10 seconds while runs end; it reloads itself in the browser.",
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Log to OUT/tensorboard too; needs: pip install tensorboard.",
)
def compare(
    words: Sequence[str],
    preset: str,
    problems: tuple[str, ...],
    methods: tuple[str, ...],
    steps: int | None,
    seeds: int | None,
    seed: int,
    rates: Sequence[Any],
    grid: Sequence[Any],
    dtypes: tuple[str, ...],
    workers: int | None,
    out: Path | None,
    resume: bool,
    tensorboard: bool,
    watch: bool,
    **options: Any,
) -> None:
    """Compare methods on problems, of the library or of your own file.

    PROBLEM is a name (torchmanifold list), FILE.py, FILE.py:NAME or MODULE:NAME. A problem's
    parameters are options too: --length 200; a list, --length 100,200, makes one problem of each.
    On a problem all methods begin with the same points for the same seeds, and each takes the best
    hyperparameters of its grid. The results folder gets runs.jsonl (every recorded step),
    summary.csv, figures (SVG and PNG) and report.html, a page that needs no network.
    """  # fmt: skip
    _check(steps, seeds, seed, workers, options["threads"], rates, resume, out)
    tools = library("optim.compare", "compare")
    names, extra = words_of(words)
    with one_line():
        found, own = problems_of(tools, (*names, *problems))
        found, grids = configured(tools, found, extra, preset, _options())
        for method, name, values in (*rates, *grid):
            grids.setdefault(method, {})[name] = values
        networks = bool(found) and all(problem.is_network for problem in found)
        count = seeds or (
            1 if networks else tools.PRESETS.get(preset, tools.PRESETS["quick"]).seeds
        )
        engine = options.pop("engine")
        plan = tools.plan_of(
            found,
            [*own, *dict.fromkeys(methods)] if methods or own else (),
            seeds=range(seed, seed + count),
            dtypes=dtypes,
            steps=steps,
            grid=grids,
            preset=preset,
            **options,
        )
    label = found[0].name if len(found) == 1 else preset
    folder = out or Path("results") / f"{label}-{datetime.now():%Y%m%d-%H%M%S}"
    session = tools.Session(
        plan,
        folder,
        resume=resume,
        engine=engine,
        workers=workers or (1 if networks else None),
        command="torchmanifold " + shlex.join(sys.argv[1:]),
        log=_tensorboard(folder) if tensorboard else tools.Said() if networks else None,
        progress=partial(tools.progress, console()),
        watch=WATCH if watch else None,
    )
    _run(session, folder, resume)


def _check(
    steps: int | None, seeds: int | None, seed: int, workers: int | None, threads: int,
    rates: Sequence[Any], resume: bool, out: Path | None,
) -> None:  # fmt: skip
    """Refuse numbers out of range, and --resume without a folder."""
    given = {"--steps": steps, "--seeds": seeds, "--workers": workers, "--threads": threads}
    for name, value in given.items():
        if value is not None and value < 1:
            refuse(f"{name} must be at least 1, got {value}")
        if value is not None and value > MOST[name]:
            refuse(f"{name} must be at most {MOST[name]}, got {value}")
    if seed < 0:
        refuse(f"--seed must not be negative, got {seed}")
    if seed >= 2**32:
        refuse(f"--seed must be below 2**32, got {seed}")
    for _, _, values in rates:
        if max(values) > 1e6:
            refuse(f"--lr must be at most 1e6, got {max(values)}")
    if resume and out is None:
        refuse("--resume needs --out, the folder of the run that was interrupted")


def _options() -> list[str]:
    """The options of the command itself."""
    return [option for p in compare.params for option in p.opts if option.startswith("--")]


def _tensorboard(folder: Path) -> Any:
    with one_line():
        return library("optim.compare.trackers", "compare").TensorBoard(folder / "tensorboard")


def _run(session: Any, folder: Path, resume: bool) -> None:
    out = console()
    again = shlex.join([*sys.argv[1:], *([] if resume else ["--resume"])])
    note = "" if "--out" in again else f" --out {folder}"
    finish = f"finished runs are kept. Continue: torchmanifold {again}{note}"
    started = False

    def begun(todo: int, done: int, workers: int) -> None:
        nonlocal started
        started = True
        if session.watch is not None and todo:
            out.print(f"Watch {folder / 'report.html'} in a browser", soft_wrap=True)
        kept = f", {done} kept" if done else ""
        device = session.plan.device
        out.print(f"{todo} runs{kept} on {device}, {workers} at a time -> {folder}", soft_wrap=True)

    try:
        with one_line():
            results = session.run(begun)
    except click.UsageError as error:
        refuse(f"{error.message}; {finish}" if started else error.message)
    except KeyboardInterrupt:
        out.print(f"interrupted; {finish}", soft_wrap=True)
        sys.exit(130)
    except BrokenExecutor:
        refuse(f"a worker of the comparison was killed; {finish}")
    out.print(results.table())
    failed = Counter(row["reason"] for row in results.failures())
    for reason, count in failed.items():
        out.print(f"{count} runs {reason}", soft_wrap=True, markup=False)
    out.print(f"Results: {folder / 'report.html'}", soft_wrap=True)
