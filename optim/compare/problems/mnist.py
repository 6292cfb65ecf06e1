"""The digits of MNIST: the original IDX files, read from a folder or downloaded into one."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import torch
from torch import Tensor

__all__ = ["CHECKSUMS", "MIRRORS", "download", "read_idx", "read_mnist"]

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

# MD5 of the compressed files, the same as in torchvision.
CHECKSUMS = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}

SPLIT = 8000  # training images among the 10,000 of t10k, if the 60,000 are absent
UNSIGNED_BYTE = 8


def read_idx(path: Path) -> Tensor:
    """The array of an IDX file of bytes, compressed or not, as uint8.

    Raises:
        ValueError: if the file is cut short, or is not an IDX file of bytes.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            data = file.read()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is not a gzip file, or is cut short; fetch it again"
            ) from error
    # Two zeros, the type of an entry, the number of dimensions; then the dimensions, big-endian.
    if len(data) < 4 or data[:3] != bytes((0, 0, UNSIGNED_BYTE)):
        raise ValueError(f"{path} is not an IDX file of bytes: it begins with {data[:4].hex()}")
    start = 4 + 4 * data[3]
    shape = struct.unpack(f">{data[3]}I", data[4:start]) if len(data) >= start else (-1,)
    body = data[start:]
    if len(body) != math.prod(shape):
        raise ValueError(f"{path} is cut short: {len(body)} bytes for the shape {shape}")
    return torch.from_numpy(np.frombuffer(body, np.uint8).reshape(shape).copy())


def _find(folder: Path, name: str) -> Path | None:
    """The file in the folder, or in the subfolder that torchvision uses."""
    places = (folder, folder / "MNIST" / "raw")
    candidates = [place / (name + suffix) for place in places for suffix in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


def read_mnist(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], str]:
    """Training and test images `(m, 28, 28)` with labels, and the name of the split.

    If the 60,000 training images are absent, the 10,000 test images are divided: the first 8,000
    are for training, and the last 2,000 for testing.

    Raises:
        ValueError: if there is no such folder, or no such files in it.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; give one with the files of MNIST")
    paths = {name: _find(folder, name) for name in CHECKSUMS}
    missing = [name for name, path in paths.items() if path is None]
    if needed := [name for name in missing if name.startswith("t10k")]:
        raise ValueError(
            f"the folder {folder} lacks {', '.join(needed)} (.gz or not); "
            "put the IDX files of MNIST there, or let --download do it"
        )
    if len(missing) == 1:
        raise ValueError(f"the folder {folder} lacks {missing[0]} (.gz or not)")
    arrays = {name: read_idx(path) for name, path in paths.items() if path is not None}
    for part in ("t10k", "train") if not missing else ("t10k",):
        images, labels = arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"]
        if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
            raise ValueError(
                f"the folder {folder}: {part} has images of shape {tuple(images.shape)} and "
                f"labels of shape {tuple(labels.shape)}; expected (m, height, width) and (m,)"
            )
    images, labels = arrays["t10k-images-idx3-ubyte"], arrays["t10k-labels-idx1-ubyte"]
    if not missing:
        train = arrays["train-images-idx3-ubyte"], arrays["train-labels-idx1-ubyte"]
        return train, (images, labels), f"MNIST, {len(train[0])} train / {len(images)} test"
    cut = SPLIT * len(images) // 10_000
    first, last = (images[:cut], labels[:cut]), (images[cut:], labels[cut:])
    return first, last, f"MNIST t10k, {cut} train / {len(images) - cut} test"


def download(folder: Path, mirrors: tuple[str, ...] = MIRRORS) -> None:
    """Fetch the missing files of the folder and check them; a file is written only if it is whole.

    Raises:
        ValueError: if no mirror gives a file with the right checksum.
    """
    for name, checksum in CHECKSUMS.items():
        if _find(folder, name) is not None:
            continue
        failures = []
        for mirror in mirrors:
            try:
                with urlopen(f"{mirror}{name}.gz", timeout=30) as answer:
                    data = answer.read()
            except OSError as error:
                failures.append(f"{mirror}: {error}")
                continue
            found = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if found == checksum:
                break
            failures.append(f"{mirror}: checksum {found}, expected {checksum}")
        else:
            raise ValueError(f"no mirror gave {name}.gz ({'; '.join(failures)})")
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{name}.gz.partial"
        partial.write_bytes(data)
        partial.replace(folder / f"{name}.gz")
