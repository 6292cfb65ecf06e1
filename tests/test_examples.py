"""Every example runs, in a small size, and finds the results that its page states."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _figures() -> Iterator[None]:
    """Close the figures of an example."""
    yield
    plt.close("all")


def test_orthogonal_rnn(capsys: pytest.CaptureFixture[str]) -> None:
    accuracy = _load("orthogonal_rnn").main(steps=120, hidden=32)
    assert set(accuracy) == {"orthogonal", "unconstrained"}
    assert accuracy["orthogonal"] > 0.25, accuracy  # chance is 0.1
    printed = capsys.readouterr().out
    assert float(re.search(r"SpecialOrthogonal.* ([\d.e-]+)$", printed, re.MULTILINE)[1]) < 1e-5
    assert len(plt.gcf().axes[0].lines) == 2


def test_recurrent_memory(capsys: pytest.CaptureFixture[str]) -> None:
    found = _load("recurrent_memory").main(steps=40, length=50, hidden=32)
    assert found.pop("moved") < 1e-5
    assert found.pop("tm.nn.OrthogonalRNN") > 0.9
    assert set(found) == {"nn.RNN", "nn.LSTM"} and max(found.values()) < 0.4
    assert "count=4" in capsys.readouterr().out
    assert [len(axes.lines) for axes in plt.gcf().axes] == [4, 3]


def test_manifold_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    found = _load("manifold_experiment").main(steps=60, p=3)
    difference = found.pop("difference")
    assert difference < 1e-12
    assert 0 < found["Riemannian"] < 0.01
    assert found["rebased every 20"] < found["parametrized"] < 1
    assert len(plt.gcf().axes[0].lines) == 4


def test_learned_shrinkage(capsys: pytest.CaptureFixture[str]) -> None:
    found = _load("learned_shrinkage").main(steps=10)
    assert found["after"] < 0.85 * found["before"]
    assert 0.02 < found["share"] < 0.5
    solved = capsys.readouterr().out
    assert re.search(r"trust-region: \d+ iterations, the gradient norm is at most 1e-09", solved)
    assert [len(axes.lines) for axes in plt.gcf().axes] == [3, 1]


def test_own_experiment() -> None:
    summary = _load("own_experiment").main(steps=60, seeds=1)
    assert set(summary["method"]) == {"heavy-ball", "riemannian-adam", "trust-region", "lbfgs"}
    assert summary.iloc[0]["method"] in ("trust-region", "lbfgs")
    assert (summary["residual_largest"] < 1e-5).all() and summary["loss"].max() < -1
    assert len(plt.gcf().axes[0].lines) == 4


def test_convergence_plot() -> None:
    gaps = _load("convergence_plot").main(steps=8, seeds=1)
    assert len(gaps) == 5
    assert gaps.between(-1e-6, 1e3).all(), gaps
    assert gaps.abs().idxmin() == "trust-region"
    assert all(axes.lines for axes in plt.gcf().axes)


def test_state_tracking(capsys: pytest.CaptureFixture[str]) -> None:
    found = _load("state_tracking").main(steps=300, longest=8)
    assert found["orthogonal"][:16].min() > 0.9
    assert max(found["diagonal"][15], found["LSTM"][15]) < 0.5
    assert "after 160" in capsys.readouterr().out
    assert len(plt.gcf().axes[0].lines) == 5


@pytest.mark.filterwarnings("default")  # those of other libraries, of their own calls
def test_lora_trainer() -> None:
    for library in ("accelerate", "peft", "transformers"):
        pytest.importorskip(library)
    for way, found in _load("lora_trainer").main(steps=20).items():
        assert found["last"] < found["first"] - 0.05, way
        assert found["residual"] < 1e-6 and found["difference"] < 1e-5, way


@pytest.mark.filterwarnings("default")
def test_lightning_averaging() -> None:
    pytest.importorskip("lightning")
    found = _load("lightning_averaging").main()
    assert found["average"] < 0.8 * found["last"] < 0.5
    assert found["residual"] < 1e-6


@pytest.mark.filterwarnings("default")
def test_accelerate_loop() -> None:
    pytest.importorskip("accelerate")
    found = _load("accelerate_loop").main(steps=30)
    assert found["last"] < 0.5 * found["first"]
    assert found["residual"] < 1e-5 and found["difference"] == 0


def test_every_example_is_tested() -> None:
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    tests = {name.removeprefix("test_") for name in vars(sys.modules[__name__])}
    assert scripts <= tests
