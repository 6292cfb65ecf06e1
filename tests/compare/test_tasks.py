"""Recurrent tasks: their samples, their losses without memory, and the files that they read."""

import gzip
import hashlib
import math

import numpy as np
import pytest
import torch
from idx_files import digits, idx, write

from torchmanifold.optim.compare.problems import mnist as mnist_module
from torchmanifold.optim.compare.problems.adding import Adding
from torchmanifold.optim.compare.problems.copying import Copying
from torchmanifold.optim.compare.problems.mnist import download, read_idx, read_mnist
from torchmanifold.optim.compare.problems.pixels import Pixels

NAMES = [
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]


def test_copying_asks_for_the_first_symbols_after_the_mark():
    task = Copying(length=7, recall=3)
    x, y = task.batch(seed=1, step=2, size=5)
    assert x.shape == (13, 5, 10) and y.shape == (13, 5)
    symbols = x.argmax(-1)
    assert torch.equal(x.sum(-1), torch.ones(13, 5))
    assert ((symbols[:3] >= 1) & (symbols[:3] <= 8)).all()
    assert torch.equal(symbols[:3], y[-3:])
    assert (y[:-3] == 0).all()
    mark = symbols == 9
    assert mark.sum() == 5 and mark[10].all()  # the last K steps begin with the mark
    assert (symbols[3:10] == 0).all() and (symbols[11:] == 0).all()


def test_the_memoryless_answer_has_the_baseline_of_copying():
    task = Copying(length=40)
    _, y = task.heldout()
    blank = torch.tensor([0.0, *[-math.inf] * 8])
    guess = torch.tensor([-math.inf, *[0.0] * 8])
    answer = torch.stack([blank] * 50 + [guess] * 10)[:, None].expand(-1, y.shape[1], -1)
    assert float(task.loss(answer, y)) == pytest.approx(task.baseline, rel=1e-5)
    assert task.baseline == pytest.approx(10 * math.log(8) / 60)


def test_the_memoryless_answer_has_the_baseline_of_adding():
    task = Adding(length=30)
    _, y = task.batch(0, 0, 200_000)
    assert float(task.loss(torch.ones_like(y), y)) == pytest.approx(task.baseline, rel=0.01)


@pytest.mark.parametrize("length", [2, 3, 50])
def test_adding_marks_one_number_in_each_half(length):
    x, y = Adding(length).batch(3, 4, 64)
    marks = x[..., 1]
    assert torch.equal(marks[: length // 2].sum(0), torch.ones(64))
    assert torch.equal(marks[length // 2 :].sum(0), torch.ones(64))
    torch.testing.assert_close((x[..., 0] * marks).sum(0), y[:, 0])


def test_right_answers_have_no_loss_and_full_accuracy():
    copying, adding, pixels = Copying(5, 2), Adding(5), Pixels()
    for task, answer in (
        (copying, lambda y: 100 * torch.nn.functional.one_hot(y, 9).float()),
        (adding, lambda y: y),
        (pixels, lambda y: 100 * torch.nn.functional.one_hot(y, 10).float()),
    ):
        _, y = task.heldout()
        assert float(task.loss(answer(y), y)) < 1e-6
        assert float(task.accuracy(answer(y), y)) == 1
        assert float(task.accuracy(answer(y.roll(1, -1) if y.dim() == 2 else y), y)) <= 1


@pytest.mark.parametrize("task", [Copying(9, 3), Adding(9), Pixels()], ids=lambda task: task.name)
def test_a_batch_is_a_function_of_seed_and_step(task):
    x, y = task.batch(1, 5, 8)
    again = task.batch(1, 5, 8)
    assert torch.equal(x, again[0]) and torch.equal(y, again[1])
    for other in (task.batch(2, 5, 8), task.batch(1, 6, 8)):
        assert not torch.equal(x, other[0])


def test_an_epoch_shows_every_image_once():
    task = Pixels()
    epoch = task.epoch(64)
    assert epoch == 1347 // 64
    seen = torch.cat([task.batch(0, step, 64)[0] for step in range(epoch)], dim=1)
    assert len(seen[..., 0].T.unique(dim=0)) == len(seen[0])
    second = torch.cat([task.batch(0, epoch + step, 64)[0] for step in range(epoch)], dim=1)
    assert not torch.equal(seen, second)


@pytest.mark.parametrize("compressed", [True, False])
def test_idx_files_are_read_compressed_or_not(tmp_path, compressed):
    images, labels = digits(20)
    write(tmp_path, "train", *digits(60, seed=1), compressed)
    write(tmp_path, "t10k", images, labels, compressed)
    train, test, split = read_mnist(tmp_path)
    assert split == "MNIST, 60 train / 20 test"
    assert np.array_equal(test[0].numpy(), images) and np.array_equal(test[1].numpy(), labels)
    assert train[0].shape == (60, 4, 4) and train[0].dtype == torch.uint8


def test_the_place_of_torchvision_is_found(tmp_path):
    write(tmp_path / "MNIST" / "raw", "t10k", *digits(20))
    assert read_mnist(tmp_path)[2] == "MNIST t10k, 16 train / 4 test"


def test_the_split_of_the_test_images_is_fixed(tmp_path):
    images, labels = digits(20)
    write(tmp_path, "t10k", images, labels)
    (x, y), (unseen, other), _ = read_mnist(tmp_path)
    assert np.array_equal(torch.cat([x, unseen]).numpy(), images)
    assert np.array_equal(torch.cat([y, other]).numpy(), labels)


def test_pixels_come_row_by_row_pooled_and_permuted(tmp_path):
    images, labels = digits(20)
    write(tmp_path, "t10k", images, labels)
    plain = Pixels(tmp_path)
    x, _ = plain.heldout()
    assert x.shape == (16, 4, 1)
    np.testing.assert_allclose(x[:, 0, 0], images[16].ravel() / 255, rtol=1e-6)
    pooled, _ = Pixels(tmp_path, pool=2).heldout()
    assert pooled.shape == (4, 4, 1)
    np.testing.assert_allclose(pooled[0, 0, 0], images[16, :2, :2].mean() / 255, rtol=1e-6)
    mixed, _ = Pixels(tmp_path, permuted=True).heldout()
    assert not torch.equal(mixed, x)
    assert torch.equal(mixed.sort(dim=0).values, x.sort(dim=0).values)


def test_bad_tasks_are_refused():
    for wrong in (
        lambda: Copying(length=0),
        lambda: Copying(recall=0),
        lambda: Adding(length=1),
        lambda: Pixels(pool=3),
        lambda: Pixels(pool=0),
        lambda: Pixels().epoch(2000),
    ):
        with pytest.raises(ValueError, match=r"must (be|divide)"):
            wrong()


def test_a_folder_without_the_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        read_mnist(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="lacks .*t10k-images-idx3-ubyte.*--download"):
        read_mnist(tmp_path)
    write(tmp_path, "t10k", *digits(20))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match="lacks train-images-idx3-ubyte"):
        read_mnist(tmp_path)


def test_damaged_files_are_refused(tmp_path):
    whole = idx(digits(3)[0])
    cases = {
        "a.gz": (gzip.compress(whole)[:-9], "cut short"),
        "b.gz": (whole, "not a gzip file"),
        "broken.gz": (gzip.compress(whole)[:12] + bytes(99), "not a gzip file"),
        "c": (whole[:-1], "cut short"),
        "d": (whole[:7], "cut short"),
        "e": (b"<html>", "not an IDX file"),
        "f": (b"", "not an IDX file"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read_idx(tmp_path / name)
    images, labels = digits(20)
    write(tmp_path, "t10k", images, labels[:-1])
    with pytest.raises(ValueError, match=r"images of shape \(20, 4, 4\)"):
        read_mnist(tmp_path)


def test_a_download_is_checked_and_whole_or_not_at_all(tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    for part in ("train", "t10k"):
        write(source, part, *digits(20))
    mirrors = ((tmp_path / "broken").as_uri() + "/", source.as_uri() + "/")
    with pytest.raises(ValueError, match="no mirror gave train-images.*checksum"):
        download(target, mirrors)
    assert not target.exists()
    sums = {name: hashlib.md5((source / f"{name}.gz").read_bytes()).hexdigest() for name in NAMES}
    monkeypatch.setattr(mnist_module, "CHECKSUMS", sums)
    download(target, mirrors)
    assert sorted(path.name for path in target.iterdir()) == sorted(f"{n}.gz" for n in NAMES)
    assert read_mnist(target)[2] == "MNIST, 20 train / 20 test"
    before = [path.stat().st_mtime_ns for path in target.iterdir()]
    download(target, mirrors=())
    assert before == [path.stat().st_mtime_ns for path in target.iterdir()]
