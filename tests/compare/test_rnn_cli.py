"""`torchmanifold compare rnn-*`: what it writes, resumes and refuses."""

import gzip
import json
import pickle
import sys

import pandas as pd
import pytest
from idx_files import digits, write

from torchmanifold.cli import main
from torchmanifold.optim import compare
from torchmanifold.optim.compare import recurrent
from torchmanifold.optim.compare.recurrent import train

TINY = ["rnn-copy", "--length", "6", "--recall", "2", "--hidden", "8", "--batch", "8"]
TINY += ["--iterations", "6", "--method", "exp", "--method", "lstm", "--seeds", "2"]


def call(capsys, monkeypatch, *arguments, command="compare"):
    monkeypatch.setattr(sys, "argv", ["torchmanifold", command, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capsys.readouterr()


@pytest.fixture
def run(capsys, monkeypatch):
    return lambda *arguments, **kw: call(capsys, monkeypatch, *arguments, **kw)


def test_from_end_to_end(run, tmp_path):
    folder = tmp_path / "out"
    code, out, err = run(*TINY, "--lr", "1e-3,3e-3", "--lr", "lstm=0.01", "--out", folder)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"Results: {folder / 'report.html'}"
    assert "exp, lr 0.003, seed 1: step 6 of 6" in out
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"runs.jsonl", "settings.json", "summary.csv", "report.html"} < names
    assert {"figures/rnn-copy-float32.svg", "figures/rnn-copy-float32.png"} < names
    assert len([name for name in names if name.startswith("checkpoints/")]) == 2 * 2 + 2
    summary = pd.read_csv(folder / "summary.csv")
    assert set(zip(summary["method"], summary["lr"], strict=True)) == {
        ("exp", 1e-3), ("exp", 3e-3), ("lstm", 0.01),
    }  # fmt: skip
    record = json.loads((folder / "settings.json").read_text())
    assert record["settings"]["title"] == "Copying memory, K = 2, L = 6"
    assert record["settings"]["clock"] == "processor time"
    page = (folder / "report.html").read_text()
    assert "Recurrent networks, compared" in page and "data:image/svg+xml;base64," in page
    # And drawn again, from the files alone.
    before = (folder / "figures" / "rnn-copy-float32.svg").read_bytes()
    packed = gzip.compress((folder / "runs.jsonl").read_bytes())
    for unpack in (True, False):
        (folder / "figures" / "rnn-copy-float32.svg").unlink()
        assert run(folder, command="plot")[0] == 0
        assert (folder / "figures" / "rnn-copy-float32.svg").read_bytes() == before
        if unpack:
            (folder / "runs.jsonl").unlink()
            (folder / "runs.jsonl.gz").write_bytes(packed)
    (folder / "runs.jsonl.gz").write_bytes(packed[:-9])
    code, _, err = run(folder, command="plot")
    assert code == 2 and "runs.jsonl.gz is no gzip file, or cut short" in err


def test_resume(run, tmp_path, monkeypatch):
    def stopped(run, **options):
        if run.method == "lstm":
            raise KeyboardInterrupt
        return train(run, **options)

    folder = tmp_path / "out"
    monkeypatch.setattr(recurrent, "train", stopped)
    code, out, _ = run(*TINY, "--out", folder)
    assert code == 130 and "interrupted; what is done is kept. Finish: torchmanifold" in out
    monkeypatch.setattr(recurrent, "train", train)
    code, out, _ = run(*TINY, "--out", folder, "--resume")
    assert code == 0 and "3 runs, 1 kept" in out
    code, out, _ = run(*TINY, "--out", folder, "--resume")
    assert code == 0 and "0 runs, 4 kept" in out
    code, _, err = run(*TINY, "--hidden", "9", "--out", folder, "--resume")
    assert code == 2 and "made with other settings (hidden)" in err


def test_images_from_a_folder_in_processes(run, tmp_path, monkeypatch):
    def execute(runs, workers, perform):
        # What processes would be sent, without the seconds that they take to load PyTorch.
        assert workers == 2
        for task in pickle.loads(pickle.dumps(list(runs))):
            yield pickle.loads(pickle.dumps(perform))(task)

    monkeypatch.setattr(compare, "execute", execute)
    write(tmp_path / "data", "t10k", *digits(100))
    code, out, err = run(
        "rnn-mnist", "--data", tmp_path / "data", "--pool", "2", "--permuted", "--epochs", "2",
        "--batch", "16", "--hidden", "8", "--method", "cayley", "--method", "rnn",
        "--workers", "2", "--out", tmp_path / "out",
    )  # fmt: skip
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in (tmp_path / "out" / "runs.jsonl").read_text().splitlines()]
    assert {row["iteration"] for row in rows} == {0, 5, 10}
    assert rows[0]["title"] == "MNIST t10k, 80 train / 20 test, permuted pixels, 4 steps"


def test_adding(run, tmp_path):
    code, out, err = run(
        "rnn-adding", "--length", "10", "--hidden", "8", "--batch", "8", "--iterations", "3",
        "--method", "riemannian-rmsprop", "--out", tmp_path / "out",
    )  # fmt: skip
    assert (code, err) == (0, "")


BAD = [
    (["rnn-copy", "--length", "0"], "--length must be at least 1, got 0"),
    (["rnn-copy", "--length", "-3"], "--length must be at least 1, got -3"),
    (["rnn-copy", "--recall", "0"], "recall must be at least 1, got 0"),
    (["rnn-adding", "--length", "1"], "length must be at least 2, got 1"),
    (["rnn-copy", "--method", "caylay"], "unknown method 'caylay'; near matches: cayley"),
    (["rnn-copy", "--lr", "caylay=1e-3"], "unknown method 'caylay'"),
    (["rnn-copy", "--method", "exp", "--lr", "lstm=1e-3"], "lstm is not among the methods"),
    (["rnn-copy", "--lr", "fast"], "'fast' is no list of numbers"),
    (["rnn-copy", "--lr", "-1"], "positive and finite, got -1.0"),
    (["rnn-copy", "--lr", "exp=nan", "--method", "exp"], "positive and finite, got nan"),
    (["rnn-copy", "--kernel-factor", "0"], "kernel_factor: positive and finite, got 0.0"),
    (["rnn-copy", "--iterations", "0"], "--iterations must be at least 1, got 0"),
    (["rnn-copy", "--hidden", "0"], "--hidden must be at least 1, got 0"),
    (["rnn-copy", "--threads", "0"], "--threads must be at least 1, got 0"),
    (["rnn-copy", "--init", "zero"], "'zero' is not one of"),
    (["rnn-copy", "--resume"], "--resume needs --out"),
    (["rnn-copy", "--tensorboard"], "pip install tensorboard"),
    (["rnn-mnist", "--epochs", "0"], "--epochs must be at least 1, got 0"),
    (["rnn-mnist", "--data", "nowhere"], "there is no folder nowhere"),
    (["rnn-mnist", "--data", "."], "lacks t10k-images-idx3-ubyte"),
    (["rnn-mnist", "--download"], "--download needs --data"),
    (["rnn-mnist", "--pool", "3"], "pool must divide the side of the images, 8 x 8; got 3"),
    (["rnn-mnist", "--batch", "5000"], "batch must be at most 1347"),
    (["rnn-mnistt"], "No such command 'rnn-mnistt'"),
    (["--seeds", "2", "rnn-copy"], "options of rnn-copy come after its name"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(case[0]) for case in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = run(*arguments)
    assert code == 2
    assert message in err and len(err.splitlines()) == 1, err
    assert out == "" and list(tmp_path.iterdir()) == []
