"""Tests that run every code block of the documents and every example in a docstring.

The Python blocks of one document share one namespace, in their order, as a reader would
type them. Shell blocks are not run (they install things and take minutes), but each
command in them must exist: make targets, options of the command line, extras, files.
"""

import configparser
import csv
import doctest
import gzip
import importlib
import importlib.util
import json
import pkgutil
import re
import shlex
import subprocess
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import NamedTuple

import click
import pytest

import torchmanifold
from torchmanifold import cli
from torchmanifold.cli.parameters import words_of
from torchmanifold.optim.compare import PROBLEMS
from torchmanifold.optim.compare.problems.copying import Copying

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(path for path in ROOT.glob("docs/**/*.md") if "_build" not in path.parts),
    ]
)

_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[^\s`]*) *(?P<source>\S*)\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
# Blocks that are not code: plain text. Directives of MyST, {name}, are Sphinx's to check.
_NOT_CODE = {"text"}


class Block(NamedTuple):
    """A fenced block: the line of its text, its language, the file that it quotes, its text."""

    line: int
    language: str
    source: str
    body: str


def _blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            text.count("\n", 0, match.start("body")),
            match["language"],
            match["source"],
            match["body"],
        )
        for match in _FENCE.finditer(text)
    ]


def _config() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def _name(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_block_is_run_or_checked(document: Path) -> None:
    fences = re.findall(r"^ *(`{3,}|~{3,})", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(_blocks(document)), "a block that this test does not see"
    for block in _blocks(document):
        known = block.language in {"python", "sh", *_NOT_CODE}
        directive = block.language.startswith("{") and not block.language.startswith("{code")
        assert known or directive, (
            f"{_name(document)}:{block.line}: {block.language!r} is neither run nor checked"
        )


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#")):
            assert (document.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_quotations_are_verbatim(document: Path) -> None:
    for block in _blocks(document):
        if block.language == "python" and block.source:
            assert block.body in (ROOT / block.source).read_text(encoding="utf-8"), (
                f"{_name(document)}:{block.line} is not what {block.source} says"
            )


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_python_blocks_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in _blocks(document):
        if block.language == "python" and not block.source:
            # Blank lines in front make the line numbers of a traceback those of the document.
            exec(compile("\n" * block.line + block.body, str(document), "exec"), namespace)


def _commands(document: Path) -> list[tuple[int, list[str]]]:
    found = []
    for block in _blocks(document):
        if block.language != "sh":
            continue
        for offset, line in enumerate(block.body.replace("\\\n", "").splitlines(), start=1):
            # Settings of the environment may precede a command: A=b make test.
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                found.append((block.line + offset, words))
    return found


def _check_make(arguments: list[str]) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _check_torchmanifold(arguments: list[str]) -> None:
    """Check that the command and its options exist; their values are not checked."""
    command: click.Command = cli.cli
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        assert arguments[0] in command.commands, f"the commands are {list(command.commands)}"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    context = command.make_context(command.name, list(arguments), resilient_parsing=True)
    _, extra = words_of(context.params.get("words") or ())
    known = {name for problem in PROBLEMS.values() for name in problem.parameters}
    assert set(extra) <= known | {"kernel_factor"}, f"no option {set(extra) - known}"


def _check_pip(arguments: list[str]) -> None:
    extras = set(_config()["options.extras_require"])
    assert arguments[0] == "install", arguments
    for argument in arguments[1:]:
        if match := re.search(r"\[(.*)\]", argument):
            assert set(match[1].split(",")) <= extras, f"{argument}: the extras are {extras}"
        if argument.endswith((".txt", ".whl")) and "*" not in argument:
            assert (ROOT / argument).exists(), argument


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_shell_commands_exist(document: Path) -> None:
    for line, (program, *arguments) in _commands(document):
        where = f"{_name(document)}:{line}"
        program = program.removeprefix(".venv/bin/")
        try:
            if program == "make":
                _check_make(arguments)
            elif program == "torchmanifold":
                _check_torchmanifold(arguments)
            elif program in {"pip"}:
                _check_pip(arguments)
            elif program in {"python", "python3"}:
                assert arguments[0].startswith("-m") or (ROOT / arguments[0]).exists()
                for named in (word for word in arguments if word.startswith("tests/")):
                    assert (ROOT / named).exists(), f"there is no {named}"
            else:
                assert program in {"git", "cd", "."}, f"{program} is not checked by this test"
        except (AssertionError, click.ClickException) as error:
            pytest.fail(f"{where}: {program} {' '.join(arguments)}: {error}")


def test_the_orders_in_the_guide_are_those_of_the_tables() -> None:
    guide = (ROOT / "docs" / "choose.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.* \d) \|$", guide, re.MULTILINE)
    told = {
        (manifold, metric): {name: int(order) for name, order in re.findall(r"`(\w+)` (\d)", cell)}
        for manifold, metric, cell in rows
    }
    kinds = {getattr(torchmanifold, manifold) for manifold, _ in told}
    assert {kind.__name__ for kind in kinds} >= {"Stiefel", "Sphere", "SpecialOrthogonal"}
    known: dict[tuple[str, str], dict[str, int]] = {}
    for kind in kinds:
        for retraction, rule in kind.retractions.items():
            for metric, order in rule.order.items():
                row = known.setdefault((kind.__name__, metric.__name__), {})
                row[retraction.__name__] = order
    assert told == known


def _recurrent(folder: str) -> dict[str, dict[str, str]]:
    """The rows of a comparison of recurrent networks at the chosen rates, by method."""
    summary = ROOT / "docs" / "measured" / "rnn" / folder / "summary.csv"
    with summary.open(encoding="utf-8") as file:
        return {row["method"]: row for row in csv.DictReader(file) if row["chosen"] == "True"}


def test_the_tables_of_recurrent_networks_are_those_measured() -> None:
    page = (ROOT / "docs" / "recurrent.md").read_text(encoding="utf-8")
    tables = re.findall(r"^% docs/measured/rnn/(\S+)\n\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert len(tables) == 7
    for folder, table in tables:
        found = [
            f"| `{method}` | {float(row['lr']):g} | {float(row['value']):.2g} | "
            f"{float(row['accuracy']):.3f} | {float(row['residual_largest'] or 'nan'):.1e} | "
            f"{float(row['ms_per_step']):.1f} |".replace("nan", "")
            for method, row in _recurrent(folder).items()
        ]
        assert table.splitlines()[2:] == found, folder


def test_the_steps_that_the_adding_problem_takes() -> None:
    page = (ROOT / "docs" / "recurrent.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+), `(\S+)` \| (.*) \| (\S+) \|$", page, re.MULTILINE)
    assert len(told) == 4
    for length, method, steps, seconds in told:
        runs = ROOT / "docs" / "measured" / "rnn" / f"adding-{length}" / "runs.jsonl.gz"
        first: dict[int, int] = {}
        for row in map(json.loads, gzip.decompress(runs.read_bytes()).splitlines()):
            if row["method"] == method and row["loss"] < 0.01:
                first.setdefault(row["seed"], row["iteration"])
        assert steps == ", ".join(str(first[seed]) for seed in range(3))
        each = float(_recurrent(f"adding-{length}")[method]["ms_per_step"])
        assert float(seconds) == pytest.approx(median(first.values()) * each / 1000, abs=0.1)


def test_what_the_guide_to_recurrent_networks_claims() -> None:
    copying, digits, mnist = map(_recurrent, ("copy-200", "digits", "mnist-196"))

    def overlap(rows: dict[str, dict[str, str]], *methods: str) -> bool:
        lows = [float(rows[method]["value_smallest"]) for method in methods]
        return max(lows) <= min(float(rows[method]["value_largest"]) for method in methods)

    def times(rows: dict[str, dict[str, str]], what: str, one: str, other: str) -> float:
        return float(rows[one][what]) / float(rows[other][what])

    baseline = Copying(length=200).baseline
    ours = ("exp", "cayley", "riemannian-rmsprop")
    orthogonal = (*ours, "geotorch", "torch-orthogonal")
    assert all(float(copying[method]["value"]) < baseline / 50 for method in orthogonal)
    assert all(float(copying[method]["value"]) > 0.99 * baseline for method in ("lstm", "rnn"))
    assert all(9.95 < times(copying, "value", "modrelu", method) < 26 for method in orthogonal)
    modrelu = set(digits) - {"geotorch-tanh", "lstm", "rnn"}
    assert max(modrelu, key=lambda method: float(digits[method]["value"])) == "modrelu"
    assert overlap(copying, *ours) and overlap(mnist, "exp", "cayley")
    for retraction in ("exp", "cayley"):
        assert overlap(digits, *(f"{retraction}{every}" for every in ("", "-every100", "-every1")))
    assert overlap(digits, "exp", "cayley", "riemannian-sgd")
    assert min(digits, key=lambda method: float(digits[method]["value"])) == "riemannian-sgd"
    assert 2.7 < times(digits, "value", "geotorch-tanh", "geotorch") < 3
    for folder in ("copy-200", "digits", "mnist-196", "mnist-784", "time-784"):
        rows = _recurrent(folder)
        assert 0.49 < times(rows, "ms_per_step", "cayley", "geotorch") < 0.67
        kept = [name for name in rows if name.startswith(("exp", "cayley", "riemannian"))]
        assert all(float(rows[name]["residual_largest"]) < 2e-6 for name in kept)


def test_the_tables_of_the_measurements_are_those_measured() -> None:
    folder = ROOT / "docs" / "measured"
    page = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    with (folder / "summary.csv").open(encoding="utf-8") as file:
        descent = {
            row["method"]: f"| `{row['method']}` | {float(row['value']):.1e} | "
            f"{float(row['residual_largest']):.1e} | {float(row['ms_per_step']):.2f} |"
            for row in csv.DictReader(file)
            if (row["problem"], row["dtype"], row["chosen"]) == ("procrustes", "float64", "True")
        }
    rows = re.findall(r"^\| `(\S+)` \| .*$", page, re.MULTILINE)
    assert len(rows) == 7
    assert all(descent[method] in page for method in rows)

    times = re.findall(r"\(`(\w+-\d+)`.*?\) \|.*?\|.*?\| (.*) \|$", page, re.MULTILINE)
    assert len(times) == 3
    for task, told in [*times, ("digits", re.search(r"\(`digits`\) .*, 64 \| (.*) \|", page)[1])]:
        measured = {row["ms_per_step"] for row in _recurrent(task).values()}
        for cell in filter(None, map(str.strip, told.split("|"))):
            digits = len(cell.partition(".")[2])
            assert cell in {f"{float(value):.{digits}f}" for value in measured}, (task, cell)

    bench = "".join((folder / f"bench-{part}.txt").read_text("utf-8") for part in ("maps", "optim"))
    speed = re.findall(
        r"^\| .* \| ([\d.]+) \| .* \| ([\d.]+) \|$", page.partition("## Speed")[2], re.M
    )
    assert len(speed) == 7
    for ours, ratio in speed:
        assert re.search(
            rf"ours.*?│ +{re.escape(ours)} \[(.*\n)*?.*│ +{re.escape(ratio)} \[", bench
        )


def test_the_picture_of_the_start_page_is_drawn_by_its_script(tmp_path: Path) -> None:
    script = ROOT / "docs" / "draw_retraction.py"
    spec = importlib.util.spec_from_file_location("draw_retraction", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.draw(tmp_path / "again.svg")
    drawn, kept = ((tmp_path / "again.svg").read_text("utf-8"), module.FIGURE.read_text("utf-8"))
    named = re.compile(r'<g id="([a-z-]+)">')  # matplotlib's own names have numbers
    parts = {"manifold", "point", "tangent-vector", "retraction", "base", "weight"}
    assert parts <= set(named.findall(drawn)) == set(named.findall(kept))
    assert "#ffffff" not in kept, "a white background would glare on a dark page"


def test_every_module_is_in_the_reference() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/api/*.md"))
    listed = set(re.findall(r"automodule:: (\S+)", pages))
    modules = {name: importlib.import_module(name) for name in _modules()}
    public = {
        name
        for name, module in modules.items()
        # The `__init__.py` of a package gathers names; its own definitions must be listed.
        if any(
            getattr(getattr(module, public, None), "__module__", None) == name
            for public in getattr(module, "__all__", ())
        )
    }
    # These are the command line, and operations that all maps share.
    rooms = ("torchmanifold.cli", "torchmanifold.manifolds.linalg")
    missing = {name for name in public - listed if not name.startswith(rooms)}
    assert not missing, sorted(missing)


def _modules() -> list[str]:
    """All modules, from the list of packages, because an editable install has separate folders."""
    packages = _config()["options"]["packages"].split()
    return packages + [
        f"{package}.{module.name}"
        for package in packages
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
        if not module.ispkg and module.name != "__main__"
    ]


def _docstrings() -> list[doctest.DocTest]:
    """The docstrings with examples, each once, found in the module that defines it."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules: list[ModuleType] = [importlib.import_module(name) for name in _modules()]
    return [test for module in modules for test in finder.find(module) if test.examples]


class _Rounded(doctest.OutputChecker):
    """Compares numbers to the precision of float32, and all else exactly, except white space.

    A zero on one machine is a rounding error on another, and torch prints the two, and all numbers
    beside them, differently.
    """

    number = re.compile(r"(?<![\w.])-?\d+\.(?:\d+)?(?:e[+-]?\d+)?")

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if super().check_output(want, got, optionflags):
            return True
        told, found = ([float(n) for n in self.number.findall(text)] for text in (want, got))
        bare = ["".join(self.number.sub("N", text).split()) for text in (want, got)]
        return bare[0] == bare[1] and found == pytest.approx(told, rel=2e-4, abs=1e-5)


@pytest.mark.parametrize("example", _docstrings(), ids=lambda example: example.name)
def test_docstring_examples_run(
    example: doctest.DocTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(_Rounded(), optionflags=flags)
    runner.run(example)
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out


def test_doctests_are_found_in_every_part() -> None:
    parts = {test.name.split(".")[1] for test in _docstrings()}
    assert {"parametrize", "manifolds", "optim"} <= parts
