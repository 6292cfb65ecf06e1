"""The output, the files and the refusals of the command line."""

import contextlib
import errno
import gzip
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from idx_files import digits, write

from torchmanifold.cli import main
from torchmanifold.optim.compare import METHODS, PROBLEMS, Results
from torchmanifold.optim.compare.engine import Attempt

TINY = ["--problem", "pca", "--problem", "completion", "--method", "riemannian-sgd"]
TINY += ["--method", "geotorch-sgd", "--steps", "3", "--seeds", "2", "--lr", "0.01,0.1"]


def call(*arguments, cwd="."):
    """Run the command line in this process, because a new one takes seconds to load PyTorch."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["torchmanifold", *map(str, arguments)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            contextlib.chdir(cwd),
            pytest.raises(SystemExit) as ended,
        ):
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
    assert record["settings"]["grids"]["pca"]["geotorch-sgd"] == {"lr": [0.01, 0.1]}
    assert record["environment"]["torch"] == torch.__version__
    assert record["command"].startswith("torchmanifold compare --problem pca")


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
    (["brocket"], "unknown problem 'brocket'; near matches: brockett"),
    (["--problem", "PCA"], "unknown problem 'PCA'; near matches: pca"),
    (["no.py"], "there is no file"),
    (["--method", "riemanian-sgd"], "near matches: riemannian-sgd"),
    (["--method", "xyz"], "unknown method 'xyz'"),
    (["--steps", "-5"], "--steps must be at least 1, got -5"),
    (["--steps", "many"], "'many' is not a valid integer"),
    (["--seeds", "0"], "--seeds must be at least 1, got 0"),
    (["--seed", "-1"], "--seed must not be negative, got -1"),
    (["--lr", "0.1,fast"], "'0.1,fast' is not a list of numbers"),
    (["--lr", "0.1,-1"], "a learning rate is positive and finite, got -1.0"),
    (["--lr", "1e7"], "--lr must be at most 1e6"),
    (["--grid", "momentum"], "'momentum' is not NAME=VALUES"),
    (["--grid", "beta=0.1"], "no method here has a hyperparameter 'beta'"),
    (["--preset", "quik"], "'quik' is not one of 'quick', 'suite', 'full'"),
    (["--device", "tpu"], "'tpu' is not one of"),
    (["--dtype", "float16"], "'float16' is not one of"),
    (["--engine", "spark"], "engine must be one of local, dask, slurm; got 'spark'"),
    (["--time-limit", "-1"], "time_limit must be positive"),
    (["pca", "--method", "projection-sgd"], "nothing to run"),
    (["--stepz", "3"], "No such option: --stepz; did you mean --steps"),
    (["-x"], "No such option: -x"),
    (["rnn-copy", "--length", "0"], "length must be at least 1, got 0"),
    (["rnn-copy", "--length", "-3"], "length must be at least 1, got -3"),
    (["rnn-copy", "--length", "many"], "--length: 'many' is not a valid integer"),
    (["rnn-copy", "--length", "5,many"], "--length: 'many' is not a valid integer"),
    (["rnn-copy", "--length"], "--length needs a value"),
    (["transformer", "--width", "32,40"], "width must be a multiple of 16"),
    (["rnn-copy", "--recall", "0"], "recall must be at least 1, got 0"),
    (["rnn-adding", "--length", "1"], "length must be at least 2, got 1"),
    (["rnn-copy", "--method", "caylay"], "unknown method 'caylay'; near matches: cayley"),
    (["rnn-copy", "--lr", "caylay=1e-3"], "caylay is not among the methods"),
    (["rnn-copy", "--method", "exp", "--lr", "lstm=1e-3"], "lstm is not among the methods"),
    (["rnn-copy", "--lr", "exp=nan", "--method", "exp"], "positive and finite, got nan"),
    (["rnn-copy", "--kernel-factor", "0"], "positive and finite, got 0"),
    (["rnn-copy", "--iterations", "0"], "must be at least 1, got 0"),
    (["rnn-copy", "--hidden", "0"], "hidden must be at least 1, got 0"),
    (["rnn-copy", "--threads", "0"], "--threads must be at least 1, got 0"),
    (["rnn-copy", "--init", "zero"], "zero"),
    (["rnn-copy", "--resume"], "--resume needs --out"),
    (["rnn-copy", "--tensorboard"], "pip install tensorboard"),
    (["rnn-copy", "--preset", "published-170"], "--preset: 'published-170' is not one of"),
    (["rnn-mnist", "--epochs", "0"], "epochs must be at least 1, got 0"),
    (["rnn-mnist", "--data", "nowhere"], "there is no folder nowhere"),
    (["rnn-mnist", "--data", "."], "lacks t10k-images-idx3-ubyte"),
    (["rnn-mnist", "--download"], "download needs data"),
    (["rnn-mnist", "--pool", "3"], "pool must divide the side of the images, 8 x 8; got 3"),
    (["rnn-mnist", "--batch", "5000"], "batch must be at most 1347"),
    (["rnn-mnistt"], "unknown problem 'rnn-mnistt'; near matches: rnn-mnist"),
]
if not torch.cuda.is_available():
    BAD.append((["--device", "cuda"], "PyTorch finds no CUDA device here"))


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    out = [] if "--resume" in arguments else ["--out", "results"]
    done = call("compare", *arguments, *out, cwd=tmp_path)
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
    assert "made with other settings (problems)" in other.stderr
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
    assert "is not a results folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def spoil(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


DAMAGE = {
    "no runs": ("runs.jsonl", lambda text: "", "has no finished run"),
    "a line in the middle": (
        "runs.jsonl", lambda text: spoil(text, '{"problem"', "#"), "line 1: not written",
    ),
    "another kind of line": ("runs.jsonl", lambda text: text + "[1]\n", "line 65: not written"),
    "deep nesting": ("runs.jsonl", lambda text: text + "[" * 200_000 + "\n", "65: not written"),
    "every row twice": ("runs.jsonl", lambda text: text + text, "line 65: this row occurs twice"),
    "markup for a name": (
        "runs.jsonl", lambda text: spoil(text, '"riemannian-sgd"', '"[/b]x"'), "1: not written",
    ),
    "not text": ("runs.jsonl", lambda text: "\0\n", "line 1: not written"),
    "a column less": (
        "runs.jsonl", lambda text: spoil(text, '"config": ', '"f": '), "line 1: not written",
    ),
    "words for a number": (
        "runs.jsonl", lambda text: re.sub('"gap": [^,]*', '"gap": "x"', text, count=1), "line 1",
    ),
    "a path for a name": (
        "runs.jsonl", lambda text: spoil(text, '"pca"', '"../pca"'), "line 1: not written",
    ),
    "half of the settings": ("settings.json", lambda text: text[:99], "settings.json was not"),
    "other settings": ("settings.json", lambda text: '{"command": 1}', "settings.json was not"),
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
    assert re.search(r"exp-every10-adam +lr 1e\+06 +diverged", done.stdout)
    assert (tmp_path / "figures" / "spd-mean-float32.png").is_file()


def test_a_full_disk_is_one_line_and_keeps_what_is_done(tmp_path, monkeypatch):
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
    assert "No space left on device; finished runs are kept" in done.stderr
    monkeypatch.undo()
    assert "1 runs, 1 kept" in call("compare", *one, "--resume").stdout


def test_list_names_everything():
    done = call("list")
    assert done.returncode == 0
    for name in [*PROBLEMS, *METHODS, "Stiefel", "AffineInvariant", "Cayley (2)"]:
        assert name in done.stdout, name


def test_help_and_version():
    assert "torchmanifold compare" in call("--help").stdout
    helped = call("compare", "--help")
    assert helped.returncode == 0
    for option in ("--preset", "--resume", "--device", "--engine", "Examples:"):
        assert option in helped.stdout
    assert re.search(r"\d+\.\d+", call("--version").stdout)


def test_the_library_does_not_load_what_the_comparison_needs():
    heavy = "{'matplotlib', 'pandas', 'sklearn', 'geotorch', 'plotly', 'click', 'rich', 'scipy'}"
    code = f"import sys, torchmanifold; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_worker_does_not_load_what_draws_the_results():
    heavy = "{'matplotlib', 'pandas', 'sklearn', 'plotly', 'click', 'rich'}"
    code = f"import sys, torchmanifold.optim.compare.perform; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("missing", ["click", "pandas"])
def test_without_the_extra_one_line_says_what_to_install(missing):
    code = f"import sys; sys.modules['{missing}'] = None; from torchmanifold.__main__ import main;"
    code += "sys.argv[1:] = ['compare']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"needs {missing}: pip install 'torchmanifold[compare]'" in done.stderr


RNN = ["rnn-copy", "--length", "6", "--recall", "2", "--hidden", "8", "--batch", "8"]
RNN += ["--iterations", "6", "--method", "exp", "--method", "lstm", "--seeds", "2"]


def test_networks_from_end_to_end_interrupted_resumed_and_drawn_again(tmp_path, monkeypatch):
    folder, rates = tmp_path / "out", ["--lr", "1e-3,3e-3", "--lr", "lstm=0.01"]

    def stopped(attempt, run):
        if run.method_name == "lstm":
            raise KeyboardInterrupt
        return original(attempt, run)

    original = Attempt.__call__
    monkeypatch.setattr(Attempt, "__call__", stopped)
    done = call("compare", *RNN, *rates, "--out", folder)
    assert done.returncode == 130
    assert "interrupted; finished runs are kept. Continue: torchmanifold" in done.stdout
    monkeypatch.undo()
    done = call("compare", *RNN, *rates, "--out", folder, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 runs, 4 kept" in done.stdout
    assert "lstm, lr 0.01, seed 1: step 6 of 6" in done.stdout
    assert len(list((folder / "checkpoints").iterdir())) == 2 * 2 + 2
    summary = pd.read_csv(folder / "summary.csv")
    assert set(zip(summary["method"], summary["config"], strict=True)) == {
        ("exp", "lr=0.001, kernel_factor=0.1"), ("exp", "lr=0.003, kernel_factor=0.1"),
        ("lstm", "lr=0.01"),
    }  # fmt: skip
    record = json.loads((folder / "settings.json").read_text())
    about = record["settings"]["problems"]["rnn-copy"]
    assert about["title"] == "Copying memory, K = 2, L = 6" and about["steps"] == 6
    other = call("compare", *RNN, *rates, "--hidden", "9", "--out", folder, "--resume")
    assert other.returncode == 2 and "made with other settings (problems)" in other.stderr
    # The files alone are enough to draw it again, also when they are compressed.
    svg = folder / "figures" / "rnn-copy-float32.svg"
    before, packed = svg.read_bytes(), gzip.compress((folder / "runs.jsonl").read_bytes())
    for unpack in (True, False):
        svg.unlink()
        assert call("plot", folder).returncode == 0
        assert svg.read_bytes() == before
        if unpack:
            (folder / "runs.jsonl").unlink()
            (folder / "runs.jsonl.gz").write_bytes(packed)
    (folder / "runs.jsonl.gz").write_bytes(packed[:-9])
    done = call("plot", folder)
    assert done.returncode == 2 and "gz is not a gzip file, or is cut short" in done.stderr


def test_a_damaged_checkpoint_costs_its_run_and_is_named(tmp_path):
    one = [*RNN[:-6], "--method", "exp", "--out", tmp_path / "out"]
    assert call("compare", *one).returncode == 0
    (path,) = (tmp_path / "out" / "checkpoints").iterdir()
    path.write_bytes(b"")
    (tmp_path / "out" / "runs.jsonl").write_text("")
    done = call("compare", *one, "--resume")
    assert done.returncode == 0
    assert f"1 runs failed: ValueError: the checkpoint {path} is damaged" in done.stdout
    path.unlink()
    assert "1 runs on cpu" in call("compare", *one, "--resume").stdout


def test_images_from_a_folder(tmp_path):
    write(tmp_path / "data", "t10k", *digits(100))
    done = call(
        "compare", "rnn-mnist", "--data", tmp_path / "data", "--pool", "2", "--permuted",
        "--epochs", "2", "--batch", "16", "--hidden", "8", "--method", "cayley", "--method", "rnn",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    frame = Results(tmp_path / "out").to_pandas()
    assert set(frame["iteration"]) == {0, 5, 10}
    about = Results(tmp_path / "out").settings()["settings"]["problems"]["rnn-mnist"]
    assert about["title"] == "MNIST t10k, 80 train / 20 test, permuted pixels, 4 steps"


def test_a_file_of_the_user_s_own(tmp_path):
    shutil.copy(Path(__file__).parent / "experiment.py", tmp_path)
    done = call("compare", "experiment.py", "--n", "5", "--method", "trust-region", "--seeds", "2",
                "--steps", "20", "--workers", "1", "--out", "out", cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert set(Results(tmp_path / "out").summary()["method"]) == {"heavy-ball", "trust-region"}
