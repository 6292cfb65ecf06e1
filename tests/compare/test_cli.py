"""The command line: what it prints, writes and refuses."""

import contextlib
import errno
import io
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from torchmanifold.cli import main

TINY = ["--problem", "pca", "--problem", "completion", "--method", "riemannian-sgd"]
TINY += ["--method", "geotorch-sgd", "--steps", "3", "--seeds", "2", "--lr", "0.01,0.1"]


def call(*arguments, cwd="."):
    """Run the command line in this process: a new one takes seconds to load PyTorch."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["torchmanifold", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with contextlib.chdir(cwd), pytest.raises(SystemExit) as ended:
                main()
    finally:
        sys.argv = argv
    return SimpleNamespace(
        returncode=ended.value.code, stdout=out.getvalue(), stderr=err.getvalue()
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small comparison as users run it: its own process, which starts others."""
    folder = tmp_path_factory.mktemp("results") / "tiny"
    command = [sys.executable, "-m", "torchmanifold", "compare", *TINY, "--out", str(folder)]
    return folder, subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_a_comparison_from_end_to_end(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == f"Results: {folder / 'report.html'}"
    assert "pca: 8 of 8 runs" in done.stdout
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    figures = {f"figures/{p}-float32.{e}" for p in ("pca", "completion") for e in ("svg", "png")}
    assert names == figures | {"runs.jsonl", "settings.json", "summary.csv", "report.html"}


def test_the_table_aligns(finished):
    lines = [line for line in finished[1].stdout.splitlines() if re.search(r"-sgd ", line)]
    assert len(lines) == 4
    assert len({re.search(r"\S+-sgd", line).start() for line in lines}) == 1


def test_rows_and_summary(finished):
    folder, _ = finished
    rows = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * 2 * 2 * 4
    wanted = {"iteration", "seconds", "loss", "gap", "gradient_norm", "residual"}
    assert all(wanted <= set(row) for row in rows)
    assert all("heldout_rmse" in row for row in rows if row["problem"] == "completion")
    summary = pd.read_csv(folder / "summary.csv")
    assert len(summary) == 8
    assert summary["chosen"].sum() == 4
    record = json.loads((folder / "settings.json").read_text())
    assert record["settings"]["rates"] == [0.01, 0.1]
    assert record["environment"]["torch"] == torch.__version__
    assert record["command"].startswith("torchmanifold compare --problem pca")


def test_the_report_needs_no_network(finished):
    page = (finished[0] / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "geotorch-sgd" in page and torch.__version__ in page and "0.01, 0.1" in page


def test_plot_draws_again_from_the_files(finished):
    folder, _ = finished
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in before:
        if path.name not in ("runs.jsonl", "settings.json"):
            path.unlink()
    assert call("plot", folder).returncode == 0
    assert {path: path.read_bytes() for path in before} == before


def test_resume_with_nothing_left(finished):
    folder, _ = finished
    again = call("compare", *TINY, "--out", folder, "--resume")
    assert again.returncode == 0
    assert "0 runs, 16 kept" in again.stdout


BAD = [
    (["--problem", "brocket"], "unknown problem 'brocket'; near matches: brockett"),
    (["--problem", "PCA"], "unknown problem 'PCA'; near matches: pca"),
    (["--method", "riemanian-sgd"], "near matches: riemannian-sgd"),
    (["--method", "xyz"], "unknown method 'xyz'"),
    (["--steps", "-5"], "--steps must be at least 1, got -5"),
    (["--steps", "many"], "'many' is not a valid integer"),
    (["--seeds", "0"], "--seeds must be at least 1, got 0"),
    (["--seed", "-1"], "--seed must not be negative, got -1"),
    (["--lr", "0.1,fast"], "'0.1,fast' is no list of numbers"),
    (["--lr", "0.1,-1"], "a learning rate is positive and finite, got -1.0"),
    (["--preset", "quik"], "'quik' is not one of 'quick', 'full'"),
    (["--device", "tpu"], "'tpu' is not one of"),
    (["--dtype", "float16"], "'float16' is not one of"),
    (["--problem", "pca", "--method", "projection-sgd"], "nothing to run"),
    (["--stepz", "3"], "No such option"),
]  # fmt: skip
if not torch.cuda.is_available():
    BAD.append((["--device", "cuda"], "PyTorch finds no CUDA device here"))


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, arguments, message):
    done = call("compare", *arguments, "--out", "results", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = call("compare", *TINY, "--out", folder)
    assert done.returncode == 2
    assert "is not empty; give another --out, or --resume" in done.stderr
    other = call("compare", *TINY, "--steps", "4", "--out", folder, "--resume")
    assert other.returncode == 2
    assert "made with other settings (steps)" in other.stderr
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    done = call("compare", *TINY, "--out", tmp_path / "file" / "results")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot write" in done.stderr


def test_resume_needs_a_folder():
    done = call("compare", "--resume")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_plot_refuses_what_is_no_results_folder(tmp_path):
    done = call("plot", tmp_path)
    assert done.returncode == 2
    assert "is no results folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def spoil(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


DAMAGE = {
    "no runs": ("runs.jsonl", lambda text: "", "has no finished run"),
    "a line in the middle": (
        "runs.jsonl", lambda text: spoil(text, '{"problem"', "#"), "runs.jsonl, line 1: not what",
    ),
    "another kind of line": ("runs.jsonl", lambda text: text + "[1]\n", "line 65: not what"),
    "not text": ("runs.jsonl", lambda text: "\0\n", "line 1: not what"),
    "a column less": (
        "runs.jsonl", lambda text: spoil(text, '"family": ', '"f": '), "line 1: not what",
    ),
    "words for a number": (
        "runs.jsonl", lambda text: re.sub('"gap": [^,]*', '"gap": "x"', text, count=1), "line 1",
    ),
    "a path for a name": (
        "runs.jsonl", lambda text: spoil(text, '"pca"', '"../pca"'), "line 1: not what",
    ),
    "half of the settings": ("settings.json", lambda text: text[:99], "settings.json is not what"),
    "other settings": ("settings.json", lambda text: '{"command": 1}', "settings.json is not what"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), DAMAGE.values(), ids=DAMAGE)
def test_plot_refuses_damaged_files_and_changes_nothing(finished, tmp_path, name, change, message):
    for file in ("runs.jsonl", "settings.json"):
        (tmp_path / file).write_bytes((finished[0] / file).read_bytes())
    path = tmp_path / name
    path.write_text(change(path.read_text()))
    done = call("plot", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and message in done.stderr, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"runs.jsonl", "settings.json"}


def test_a_line_that_was_cut_short_costs_one_run(finished, tmp_path):
    text = (finished[0] / "runs.jsonl").read_text()
    (tmp_path / "runs.jsonl").write_text(text[:-9])
    (tmp_path / "settings.json").write_bytes((finished[0] / "settings.json").read_bytes())
    assert call("plot", tmp_path).returncode == 0
    assert pd.read_csv(tmp_path / "summary.csv")["seeds"].sum() == 15


def test_methods_that_diverge_at_once_are_shown(tmp_path):
    one = ["--problem", "spd-mean", "--method", "exp-every10-adam", "--lr", "1e6"]
    done = call(
        "compare", *one, "--steps", "3", "--seeds", "1", "--workers", "1", "--out", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"exp-every10-adam +1e\+06 +diverged", done.stdout)
    assert (tmp_path / "figures" / "spd-mean-float32.png").is_file()


def test_a_full_disk_is_one_line_and_keeps_what_is_done(tmp_path, monkeypatch):
    from torchmanifold.optim.compare import Results

    append = Results.append

    def fails_at_the_second(results, rows):
        if (results.folder / "runs.jsonl").stat().st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(results, rows)

    monkeypatch.setattr(Results, "append", fails_at_the_second)
    one = ["--problem", "pca", "--method", "qr-sgd", "--lr", "0.1", "--steps", "3", "--seeds", "2"]
    one += ["--workers", "1", "--out", tmp_path]
    done = call("compare", *one)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device; what is done is kept" in done.stderr
    monkeypatch.undo()
    assert "1 runs, 1 kept" in call("compare", *one, "--resume").stdout


def test_list_names_everything():
    from torchmanifold.optim.compare import METHODS, PROBLEMS

    done = call("list")
    assert done.returncode == 0
    for name in [*PROBLEMS, *METHODS, "Stiefel", "AffineInvariant", "Cayley (2)"]:
        assert name in done.stdout, name


def test_help_and_version():
    assert "torchmanifold compare" in call("--help").stdout
    helped = call("compare", "--help")
    assert helped.returncode == 0
    for option in ("--preset", "--resume", "--device", "Examples:"):
        assert option in helped.stdout
    assert re.search(r"\d+\.\d+", call("--version").stdout)


def test_the_library_does_not_load_what_the_comparison_needs():
    loaded = "import sys, torchmanifold; print({'matplotlib', 'pandas', 'sklearn', 'geotorch'}"
    code = loaded + " & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
