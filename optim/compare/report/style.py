"""The look of methods: colours that the colour-blind can distinguish, dashes and markers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["DASHES", "STYLE", "TOGETHER", "facets", "styles"]

# Okabe & Ito 2008, with grey for the yellow that vanishes on white, and two dark ones of Tol.
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000",
    "#56B4E9", "#E69F00", "#999999", "#882255", "#332288",
)  # fmt: skip
DASHES = {"-": "solid", (0, (5, 1.5)): "dash", (0, (1, 1)): "dot"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
TOGETHER = 10  # more methods than this are drawn with one row for each family

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "savefig.dpi": 200,
    "svg.hashsalt": "torchmanifold",
}


def facets(methods: Iterable[str], families: dict[str, str]) -> list[list[str]]:
    """Groups of methods that are drawn together: all methods, or families if there are many.

    Example:
        >>> facets(["a", "b"], {})
        [['a', 'b']]
    """
    methods = list(methods)
    if len(methods) <= TOGETHER:
        return [methods]
    groups: dict[str, list[str]] = {}
    for method in methods:
        groups.setdefault(families.get(method, "others"), []).append(method)
    return list(groups.values())


def styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, dash and marker for each method; each of the three alone distinguishes most methods.

    Example:
        >>> styles(["a"])
        {'a': {'color': '#0072B2', 'linestyle': '-', 'marker': 'o'}}
    """
    dashes = list(DASHES)
    return {
        method: {
            "color": COLORS[i % len(COLORS)],
            "linestyle": dashes[i % len(dashes)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        for i, method in enumerate(methods)
    }
