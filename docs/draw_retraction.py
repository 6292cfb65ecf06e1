"""Draw docs/_static/retraction.svg: point, tangent vector, retraction and base, on a circle.

`python docs/draw_retraction.py` writes the figure anew. The library computes every point in it.
The colors are those of Okabe and Ito. Each has a contrast of at least 3 with a white page and with
a dark one, and the background is transparent.
"""

import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

import torchmanifold as tm

FIGURE = Path(__file__).parent / "_static" / "retraction.svg"
GREY, BLUE, ORANGE, GREEN = "#808080", "#0072B2", "#D55E00", "#009E73"
CIRCLE = tm.Sphere()


def _at(degrees: float) -> Tensor:
    angle = math.radians(degrees)
    return torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)


def _forward(x: Tensor, length: float) -> Tensor:
    """The tangent vector at `x` of this length, clockwise."""
    return length * torch.stack([x[1], -x[0]])


def _manifold(axes: Axes, title: str) -> None:
    arc = torch.stack([_at(angle) for angle in range(26, 155)])
    axes.plot(*arc.T, color=BLUE, lw=3, zorder=2, gid="manifold")
    axes.annotate("manifold", arc[5], (-6, -13), textcoords="offset points", color=BLUE, ha="right")
    axes.set_title(title, color=GREY)
    axes.set(xlim=(-1.0, 1.15), ylim=(0.36, 1.45), aspect="equal")
    axes.axis("off")


def _tangent_space(axes: Axes, x: Tensor, back: float, forth: float) -> None:
    ends = torch.stack([x + _forward(x, -back), x + _forward(x, forth)])
    axes.plot(*ends.T, color=GREY, lw=1.2, zorder=1)


def _dot(axes: Axes, x: Tensor, color: str, name: str, label: str, offset: tuple, **text) -> None:
    axes.plot(*x, "o", color=color, ms=8, zorder=4, gid=name)
    axes.annotate(label, x, offset, textcoords="offset points", color=color, **text)


def _vector(axes: Axes, x: Tensor, v: Tensor) -> None:
    arrow = {"arrowstyle": "-|>", "color": ORANGE, "lw": 2.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", x + v, x, arrowprops=arrow, zorder=3).arrow_patch.set_gid("tangent-vector")


def _project(axes: Axes, x: Tensor, v: Tensor) -> Tensor:
    """The point `R_x(v)`, and a dashed line to it from `x + v`."""
    y = CIRCLE.retract(x, v)
    axes.plot(*torch.stack([x + v, y]).T, color=GREEN, lw=1.6, ls=(0, (3, 2)), zorder=2)
    return y


def _step(axes: Axes) -> None:
    _manifold(axes, "a step")
    x = _at(122)
    v = _forward(x, 0.95)
    _tangent_space(axes, x, 0.4, 1.1)
    _vector(axes, x, v)
    y = _project(axes, x, v)
    _dot(axes, x, GREY, "point", "point $x$", (4, -18))
    _dot(axes, y, GREEN, "retraction", "new point $R_x(v)$", (-4, -22), ha="center")
    halfway = x + 0.5 * v
    axes.annotate(
        "tangent vector $v$", halfway, (-2, 9), textcoords="offset points", color=ORANGE,
        ha="center", rotation=32, rotation_mode="anchor",
    )  # fmt: skip
    axes.annotate("tangent space", x + _forward(x, 1.1), (5, -5), textcoords="offset points",
                  color=GREY)  # fmt: skip


def _parametrization(axes: Axes) -> None:
    _manifold(axes, "a parametrization")
    b = _at(112)
    _tangent_space(axes, b, 0.45, 1.15)
    for length in (-0.4, -0.2, 0.2, 0.4, 0.6, 1.0):
        v = _forward(b, length)
        axes.plot(*(b + v), "o", color=ORANGE, ms=3.5, zorder=3)
        axes.plot(*_project(axes, b, v), "o", color=GREEN, ms=3.5, zorder=3)
    v = _forward(b, 0.8)
    _vector(axes, b, v)
    y = _project(axes, b, v)
    _dot(axes, b, GREY, "base", "base $b$", (3, -19), ha="center")
    _dot(axes, y, GREEN, "weight", "weight $R_b(v)$", (-4, -22), ha="center")
    axes.annotate("coordinates $v$", b + 0.8 * v, (4, 10), textcoords="offset points", color=ORANGE,
                  ha="center", rotation=22, rotation_mode="anchor")  # fmt: skip


def draw(path: Path = FIGURE) -> None:
    """Write the figure; the same bytes every time under one version of matplotlib."""
    with plt.rc_context({"svg.hashsalt": "torchmanifold", "font.size": 11}):
        figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
        _step(axes[0])
        _parametrization(axes[1])
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:]))
