"""Presets: problems and methods that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """The defaults of a comparison.

    Args:
        problems: references of problems.
        methods: references of methods.
        seeds: the number of seeds.
        dtypes: "float32", "float64".
        steps: the number of steps of every problem; its own number if None.
    """

    problems: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int = 3
    dtypes: tuple[str, ...] = ("float32",)
    steps: int | None = None


_POINTS = ("pca", "brockett", "procrustes", "spd-mean", "completion", "digits-rnn")
_SUITE = (
    *("max-cut", "rotation-sync", "nearest-correlation", "discriminant", "phase-retrieval"),
    *("joint-diagonal", "sparse-pca", "thomson", "gaussian-mixture", "tree-embedding"),
    *("pose-graph",),
)

PRESETS: Mapping[str, Preset] = {
    "quick": Preset(
        problems=_POINTS,
        methods=(
            "exp-every10-adam",
            "cayley-adam",
            "qr-sgd",
            "qr-every1-sgd",
            "projection-sgd",
            "riemannian-sgd",
            "riemannian-adam",
            "trust-region",
            "torch-orthogonal-adam",
            "geotorch-adam",
            "unconstrained-adam",
        ),
    ),
    "suite": Preset(
        problems=(*_POINTS[:-1], *_SUITE),
        methods=(
            "riemannian-sgd",
            "riemannian-adam",
            "exp-every10-adam",
            "projection-every10-adam",
            "geotorch-adam",
            "trust-region",
            "lbfgs",
            "cg",
            "barzilai-borwein",
            "gradient-descent",
        ),
        dtypes=("float64",),
        steps=500,
    ),
    "full": Preset(
        problems=_POINTS,
        methods=(
            *(
                f"{name}{suffix}-{optimizer}"
                for name in ("exp", "cayley", "polar", "qr", "quadratic", "projection")
                for suffix in ("", "-every10", "-every1")
                for optimizer in ("sgd", "adam")
            ),
            *(
                f"{name}-{optimizer}"
                for name in ("riemannian", "torch-orthogonal", "geotorch", "unconstrained")
                for optimizer in ("sgd", "adam")
            ),
            *("trust-region", "lbfgs", "cg", "barzilai-borwein", "gradient-descent"),
        ),
        dtypes=("float32", "float64"),
        steps=300,
    ),
}
