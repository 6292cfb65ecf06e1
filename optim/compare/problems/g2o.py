"""Pose graphs: files in g2o format, and simulated ones."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torchmanifold.optim.compare.problems.rotations import nearest_rotations

__all__ = ["PoseGraph", "read_g2o", "simulated"]

# The fields of an edge after its two ends: a translation, a rotation, and the upper triangle of its
# information matrix.
DIMENSIONS = {"EDGE_SE2": 2, "EDGE_SE3:QUAT": 3}
NUMBERS = {2: 3 + 6, 3: 7 + 21}


@dataclass(frozen=True)
class PoseGraph:
    """Relative poses, measured between pairs of n poses in the plane or in space.

    Args:
        n: the number of poses.
        tails: the first pose of each edge, `(m,)`, counted from 0.
        heads: the second pose of each edge.
        rotations: the rotation of the second pose relative to the first, `(m, d, d)`.
        translations: the position of the second pose relative to the first, `(m, d)`.
        kappa: weight of each rotation, `(m,)`.
        tau: weight of each translation, `(m,)`.
    """

    n: int
    tails: np.ndarray
    heads: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    kappa: np.ndarray
    tau: np.ndarray

    @property
    def d(self) -> int:
        """2 in the plane, 3 in space."""
        return self.rotations.shape[-1]


def _turns(angles: np.ndarray) -> np.ndarray:
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def _quaternions(q: np.ndarray) -> np.ndarray:
    """The rotation of each `(x, y, z, w)`, by `v -> v + 2 w (u x v) + 2 u x (u x v)`."""
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    cross = np.zeros((len(q), 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross[:, j, i], cross[:, i, j] = q[:, k], -q[:, k]
    return np.eye(3) + 2 * q[:, 3, None, None] * cross + 2 * cross @ cross


def _spread(information: np.ndarray) -> np.ndarray:
    """The trace of each inverse."""
    return np.trace(np.linalg.inv(information), axis1=-2, axis2=-1)


def _lines(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            return file.readlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a g2o file: {error}") from error


def read_g2o(path: str | Path) -> PoseGraph:
    """The edges of a file in g2o format, plain or compressed by gzip.

    Edges are `EDGE_SE2` or `EDGE_SE3:QUAT`. The information matrix of an edge becomes two numbers,
    the weights of the nearest isotropic noise. Vertices may have any numbers, and their initial
    poses are not read.

    Args:
        path: path of the file.

    Raises:
        ValueError: if the file cannot be read, or has no edge, edges of another kind or of both
            kinds, an edge with a wrong number of fields, or an information matrix that is not
            positive definite.

    Source: Kuemmerle, Grisetti, Strasdat, Konolige & Burgard, g2o: a general framework for graph
    optimization, ICRA 2011; Rosen, Carlone, Bandeira & Leonard, SE-Sync, Int. J. Robot. Res. 38,
    2019, for the weights.
    """
    path = Path(path)
    kinds, ends, values = set(), [], []
    for number, line in enumerate(_lines(path), 1):
        tag, *fields = line.split() or [""]
        if not tag.startswith("EDGE"):
            continue
        d = DIMENSIONS.get(tag)
        if d is None:
            known = " and ".join(DIMENSIONS)
            raise ValueError(f"{path}, line {number}: {tag} is not known; edges are {known}")
        if len(fields) != 2 + NUMBERS[d]:
            raise ValueError(
                f"{path}, line {number}: {tag} has {2 + NUMBERS[d]} fields, got {len(fields)}"
            )
        try:
            ends.append([int(end) for end in fields[:2]])
            values.append([float(field) for field in fields[2:]])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        kinds.add(d)
    if len(kinds) != 1:
        found = "edges of the plane and of space" if kinds else "no edge"
        raise ValueError(f"{path} has {found}; a pose graph has edges of one kind")
    names, places = np.unique(np.array(ends), return_inverse=True)
    measured = np.array(values)
    return _graph(path, kinds.pop(), len(names), places.reshape(-1, 2), measured)


def _graph(path: Path, d: int, n: int, ends: np.ndarray, values: np.ndarray) -> PoseGraph:
    size = 3 * (d - 1)
    information = np.zeros((len(values), size, size))
    upper = np.triu_indices(size)
    information[:, upper[0], upper[1]] = information[:, upper[1], upper[0]] = values[
        :, -len(upper[0]) :
    ]
    bad = ~(np.linalg.eigvalsh(information)[:, 0] > 0)
    if bad.any():
        i, j = ends[bad.argmax()]
        raise ValueError(
            f"{path}: the information matrix of the edge between the poses {i} and {j} is not "
            "positive definite"
        )
    turning = information[:, d:, d:]
    # The vector part of a quaternion is half the angle; the variance of an angle is the mean of
    # all.
    kappa = turning[:, 0, 0] if d == 2 else 3 / (2 * _spread(turning))
    return PoseGraph(
        n=n,
        tails=ends[:, 0],
        heads=ends[:, 1],
        rotations=_turns(values[:, 2]) if d == 2 else _quaternions(values[:, 3:7]),
        translations=values[:, :d],
        kappa=kappa,
        tau=d / _spread(information[:, :d, :d]),
    )


def simulated(sides: Sequence[int], noise: float, seed: int = 0) -> PoseGraph:
    """Poses at the points of a grid, random rotations, and noisy edges between neighbours.

    Args:
        sides: the number of points along each axis: two numbers for the plane, three for space.
        noise: standard deviation of the entries of rotations and of translations.
        seed: seed of rotations and noise.
    """
    d, rng = len(sides), np.random.default_rng(seed)
    numbers = np.arange(np.prod(sides)).reshape(sides)
    pairs = [
        np.stack([numbers.take(range(side - 1), axis), numbers.take(range(1, side), axis)], -1)
        for axis, side in enumerate(sides)
    ]
    tails, heads = np.concatenate([pair.reshape(-1, 2) for pair in pairs]).T
    places = np.stack(np.unravel_index(np.arange(numbers.size), sides), -1).astype(float)
    poses = nearest_rotations(rng.standard_normal((numbers.size, d, d)))
    seen = poses[tails].swapaxes(1, 2)
    steps = (seen @ (places[heads] - places[tails])[..., None])[..., 0]
    turns = seen @ poses[heads]
    return PoseGraph(
        n=numbers.size,
        tails=tails,
        heads=heads,
        rotations=nearest_rotations(turns + noise * rng.standard_normal(turns.shape)),
        translations=steps + noise * rng.standard_normal(steps.shape),
        kappa=np.ones(len(tails)),
        tau=np.ones(len(tails)),
    )
