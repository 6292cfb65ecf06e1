"""Recurrent networks: initial values, training, gradients through time, checkpoints."""

import dataclasses
import json
import math
import os
import sys
from types import SimpleNamespace

import pytest
import torch

from torchmanifold.optim.compare import METHODS, PROBLEMS, Run, TensorBoard, find_problem, perform
from torchmanifold.optim.compare.problems.adding import Adding
from torchmanifold.optim.compare.problems.copying import Copying
from torchmanifold.optim.compare.problems.networks import gradients_through_time
from torchmanifold.optim.compare.problems.sequences import grids
from torchmanifold.optim.compare.task import Task

SIZES = (("length", 6), ("recall", 2), ("hidden", 12), ("batch", 8))
CONFIG = (("lr", 3e-3), ("kernel_factor", 0.1))
RUN = Run("rnn-copy", "cayley", CONFIG, 0, 6, parameters=SIZES)
NAMES = (*PROBLEMS["rnn-copy"].methods, "modrelu")
MODRELU = [name for name in NAMES if name not in ("geotorch-tanh", "lstm", "rnn")]


def made(method, problem="rnn-copy", **parameters):
    parameters = parameters or dict(SIZES)
    with torch.random.fork_rng():
        task = Task(find_problem(problem).configured(**parameters), 0, "float32", "cpu")
        task.prepare(METHODS[method], dict(CONFIG), 6)
    return task


def untimed(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.parametrize("method", NAMES)
def test_a_run_of_every_method(method):
    rows = perform(dataclasses.replace(RUN, method=method))
    assert [row["iteration"] for row in rows] == list(range(7))
    assert rows[-1]["loss"] < rows[0]["loss"] and not rows[-1]["diverged"]
    assert 0 < rows[1]["seconds"] < rows[2]["seconds"]
    if METHODS[method].constrained:
        assert all(row["residual"] < 1e-5 for row in rows)
    elif method == "lstm":
        assert math.isnan(rows[-1]["residual"])
    else:
        assert rows[-1]["residual"] > 1e-4
    assert len(rows[0]["through_time"]) == len(rows[-1]["through_time"]) == 6 + 2 * 2 + 1
    assert all("through_time" not in row for row in rows[1:-1])


def test_all_modrelu_networks_begin_with_the_same_function():
    x, _ = Copying(6, 2).heldout()
    reference = made(MODRELU[0]).model(x)
    for method in MODRELU[1:]:
        torch.testing.assert_close(made(method).model(x), reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["cayley", "torch-orthogonal", "geotorch-tanh", "lstm", "rnn"])
@pytest.mark.parametrize("task", [Copying(4, recall=2), Adding(7)], ids=lambda task: task.name)
def test_gradients_through_time(method, task):
    """Against a perturbation of the first state, and without a trace in the model."""
    model = made(method, task.name, hidden=12).model.double()
    x, y = task.batch(0, 0, 5)
    x, y = x.double(), y.double() if y.is_floating_point() else y
    norms = gradients_through_time(model, task.loss, x, y)
    assert norms.shape == (len(x) + 1,)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    zero = torch.zeros(1, 5, 12, dtype=torch.float64)
    first = [zero.clone().requires_grad_() for _ in range(2 if method == "lstm" else 1)]
    states, _ = model.rnn(x, tuple(first) if method == "lstm" else first[0])
    last = (states[-1:], y[-1:]) if task.every else (states[-1], y)
    grads = torch.autograd.grad(task.loss(model.head(last[0]), last[1]), first)
    expected = torch.stack([g.square().sum() for g in grads]).sum().sqrt()
    assert float(norms[0]) == pytest.approx(float(expected), rel=1e-9)


def test_an_orthogonal_identity_keeps_the_gradient():
    """With bias 0 modReLU is the identity, and the norm is the same at all steps."""
    task = Adding(40)
    model = made("exp", "rnn-adding", length=40, hidden=12).model
    torch.nn.init.zeros_(model.rnn.bias_ih_l0)
    norms = gradients_through_time(model, task.loss, *task.batch(0, 0, 5))
    torch.testing.assert_close(norms, norms[-1].expand_as(norms), rtol=1e-4, atol=0)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    "method", ["exp-every100", "cayley-every1", "riemannian-adam", "geotorch", "torch-orthogonal",
               "lstm"],
)  # fmt: skip
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path, method):
    sizes = (("batch", 300), ("hidden", 12), ("epochs", 3))
    run = dataclasses.replace(RUN, problem="rnn-mnist", method=method, parameters=sizes, steps=12)
    whole = perform(run)

    def stop(run, row):
        if row["iteration"] == 8:
            raise Interrupted

    with pytest.raises(Interrupted):
        perform(run, tmp_path, log=stop)
    seen = []
    rows = perform(run, tmp_path, log=lambda run, row: seen.append(row["iteration"]))
    assert seen == [8, 12]  # a record an epoch of four steps
    for row, expected in zip(untimed(rows), untimed(whole), strict=True):
        assert row.keys() == expected.keys()
        assert row["evaluations"] == expected["evaluations"]
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    finished = perform(run, tmp_path, log=lambda run, row: seen.append(row))
    assert [row["seconds"] for row in finished] == [row["seconds"] for row in rows]
    assert seen == [8, 12]


def test_a_damaged_or_foreign_checkpoint_is_refused_by_name(tmp_path):
    perform(RUN, tmp_path)
    (path,) = tmp_path.glob("*.pt")
    good = path.read_bytes()
    state = torch.load(path, weights_only=True)
    torch.save({**state, "run": "another"}, tmp_path / "foreign")
    torch.save({**state, "model": {}}, tmp_path / "emptied")
    torch.save([1], tmp_path / "list")
    cases = {
        "truncated": (good[: len(good) // 2], "is damaged"),
        "empty": (b"", "is damaged"),
        "garbage": (os.urandom(3000), "is damaged"),
        "foreign": ((tmp_path / "foreign").read_bytes(), "is of another run"),
        "emptied": ((tmp_path / "emptied").read_bytes(), "does not fit"),
        "list": ((tmp_path / "list").read_bytes(), "is not a checkpoint"),
    }
    for data, message in cases.values():
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message) as error:
            perform(RUN, tmp_path)
        assert path.name in str(error.value) and "remove it" in str(error.value)
        assert path.read_bytes() == data


def test_a_checkpoint_has_the_trained_network(tmp_path):
    rows = perform(RUN, tmp_path)
    (path,) = tmp_path.glob("*.pt")
    task = made("cayley")
    task.model.load_state_dict(torch.load(path, weights_only=True)["model"])
    assert task.measure()["loss"] == pytest.approx(rows[-1]["loss"], rel=1e-6)


def test_divergence_ends_a_run():
    config = (("lr", 1e20),)
    rows = perform(dataclasses.replace(RUN, method="modrelu", config=config, steps=40))
    assert rows[-1]["diverged"] and rows[-1]["final"] and rows[-1]["iteration"] < 40
    assert all(math.isfinite(value) for _, value in rows[-1]["through_time"])
    json.dumps(rows)


def test_copying_is_learnt():
    """Our loss is far below the loss without memory, and that of the LSTM is not."""
    sizes = (("length", 20), ("hidden", 64), ("batch", 32))
    config = (("lr", 5e-3), ("kernel_factor", 0.1))
    run = dataclasses.replace(RUN, parameters=sizes, steps=150, config=config)
    ours, lstm = (perform(dataclasses.replace(run, method=m))[-1] for m in ("cayley", "lstm"))
    baseline = Copying(20).baseline
    assert ours["loss"] < 0.1 * baseline and ours["accuracy"] > 0.95
    assert lstm["loss"] > 0.5 * baseline


def test_tensorboard_gets_the_scalars_of_every_row(tmp_path, monkeypatch):
    """The package is optional, so this test reads the calls, and not the files."""
    told, flushed = [], []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            told.append((self.folder, name, value, step))

        def flush(self):
            flushed.append(len(told))

    fake = SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    run = dataclasses.replace(RUN, method="lstm", config=(("lr", 3e-3),), steps=2)
    rows = perform(run, log=TensorBoard(tmp_path))
    folder = str(tmp_path / "lstm-lr=0.003-seed0")
    assert told == [
        (folder, f"rnn-copy/{name}", row[name], row["iteration"])
        for row in rows
        for name in ("loss", "gap", "accuracy")  # an LSTM has no residual
    ]
    assert flushed == [3, 6, 9]


def test_published_sizes():
    published = PROBLEMS["rnn-copy"].presets["published"]
    sizes = {name: published[name] for name in ("hidden", "batch", "steps", "length")}
    assert sizes == {"hidden": 190, "batch": 128, "steps": 4000, "length": 1000}
    presets = PROBLEMS["rnn-mnist"].presets
    rates = {name: preset["grids"]["*"]["lr"] for name, preset in presets.items() if preset}
    assert rates["published-512"] == (3e-4,) and rates["published-permuted-512"] == (5e-4,)
    assert grids(2e-4)["lstm"]["lr"] == (3e-3,)
