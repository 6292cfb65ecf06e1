"""Small files in the format of MNIST."""

import gzip
import struct

import numpy as np


def idx(array):
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def digits(count, side=4, seed=0):
    """Random images and labels."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, side, side), dtype=np.uint8)
    return images, draw.integers(0, 10, count, dtype=np.uint8)


def write(folder, part, images, labels, compressed=True):
    """The two files of a part, in the format of MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{part}-{kind}-ubyte"
        if compressed:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(idx(array)))
        else:
            path.write_bytes(idx(array))
