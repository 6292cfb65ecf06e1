"""The table for the tests of manifolds: a manifold and shapes of its points.

Retractions, metrics and orders come from the manifolds' own tables. A method that these tables do
not have must raise; no test skips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

import torchmanifold as tm
from torchmanifold.manifolds.geometry.invariants import Reads
from torchmanifold.manifolds.geometry.structure import leaves

ALL: tuple[Reads, ...] = ("manifold", "metric", "retraction")


@dataclass(frozen=True)
class Case:
    """One manifold with shapes for its tests.

    Args:
        manifold: a manifold with its default metric and retraction.
        shapes: shapes of one point each; the tests add batch dimensions.
        complex: whether it has a complex form.
    """

    manifold: tm.Manifold
    shapes: tuple[Any, ...]
    complex: bool = False


# The matrix of generalized orthogonality: eigenvalues 1 to 4 in a random basis.
_BASIS = torch.linalg.qr(
    torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
).Q
_WEIGHTS = _BASIS @ torch.diag(torch.linspace(1, 4, 5, dtype=torch.float64)) @ _BASIS.mT
_WEIGHTS = (_WEIGHTS + _WEIGHTS.mT) / 2

CASES = (
    Case(tm.Euclidean(ndim=1), ((5,),)),
    Case(tm.Symmetric(), ((4, 4),), complex=True),
    Case(tm.SkewSymmetric(), ((4, 4),), complex=True),
    Case(tm.Sphere(), ((5,), (2,)), complex=True),
    Case(tm.Stiefel(), ((6, 3), (5, 4), (4, 4), (5, 1)), complex=True),
    Case(tm.Grassmann(), ((6, 3), (5, 4), (5, 1)), complex=True),
    Case(tm.Flag((2, 1)), ((6, 3), (3, 3)), complex=True),
    Case(tm.GeneralizedStiefel(_WEIGHTS), ((5, 3), (5, 5)), complex=True),
    Case(tm.GeneralizedGrassmann(_WEIGHTS), ((5, 3),), complex=True),
    Case(tm.SpecialOrthogonal(), ((5, 5), (2, 2))),
    Case(tm.Orthogonal(), ((4, 4), (2, 2))),
    Case(tm.OrthogonalColumns(), ((5, 3), (3, 3)), complex=True),
    Case(tm.SpecialEuclidean(), ((4, 4), (3, 3))),
    Case(tm.SymmetricPositiveDefinite(), ((4, 4), (1, 1)), complex=True),
    Case(tm.SpecialPositiveDefinite(), ((4, 4), (2, 2)), complex=True),
    Case(tm.Correlation(), ((4, 4), (2, 2)), complex=True),
    Case(tm.Elliptope(), ((5, 3), (3, 3)), complex=True),
    Case(tm.PositiveSemidefinite(), ((5, 2), (4, 1)), complex=True),
    Case(tm.Spectrahedron(), ((5, 2), (4, 1)), complex=True),
    Case(tm.Oblique(), ((4, 3),), complex=True),
    Case(tm.Oblique(rows=True), ((3, 4),)),
    Case(tm.Positive(), ((4,), (1,))),
    Case(tm.Multinomial(), ((4,), (2,))),
    Case(tm.DoublyStochastic(), ((4, 4), (2, 2))),
    Case(tm.DoublyStochastic(symmetric=True), ((4, 4),)),
    Case(tm.PoincareBall(), ((3,), (2,))),
    Case(tm.PoincareBall(curvature=0.3), ((4,),)),
    Case(tm.Stereographic(0.7), ((3,),)),
    Case(tm.Stereographic(0.0), ((2,),)),
    Case(tm.Lorentz(), ((4,), (2,))),
    Case(tm.Lorentz(curvature=2.5), ((3,),)),
    Case(tm.FixedRank(2), ((6, 4), (4, 6))),
    Case(tm.Blocks(tm.SpecialOrthogonal(), 3), ((9, 3),)),
    Case(tm.Transposed(tm.Stiefel()), ((3, 6),)),
    Case(tm.Flattened(tm.Sphere(), ndim=2), ((2, 3),)),
    Case(tm.Scaled(tm.Sphere(), 3.0), ((5,),)),
    Case(tm.Scaled(tm.SpecialOrthogonal(), 0.5), ((3, 3),)),
    Case(tm.Flattened(tm.Transposed(tm.Stiefel()), ndim=4), ((4, 2, 2, 2),)),
)

# Points that are always complex: tests take them with `every(ALWAYS_COMPLEX)`, and `entries` says
# in which dtype.
ALWAYS_COMPLEX = (
    Case(tm.ComplexCircle(), ((4,),), complex=True),
    Case(tm.Unitary(), ((4, 4), (1, 1)), complex=True),
    Case(tm.SpecialUnitary(), ((4, 4), (3, 3), (2, 2), (1, 1)), complex=True),
)

# Points of several tensors; of these the invariants alone are tried.
PRODUCTS = (
    Case(tm.FactoredFixedRank(2), (((5, 2), (2, 2), (4, 2)),), complex=True),
    Case(tm.Product(tm.Stiefel(), tm.Sphere()), (((4, 2), (3,)),), complex=True),
    Case(
        tm.Product(a=tm.SpecialOrthogonal(), b=tm.Product(tm.Euclidean(ndim=1), tm.Sphere())),
        ({"a": (3, 3), "b": ((2,), (3,))},),
    ),
)


#: manifolds whose points are bases or factors `x`; a cost may depend only on `x x'`
FACTORS = (
    tm.Grassmann,
    tm.GeneralizedGrassmann,
    tm.Elliptope,
    tm.PositiveSemidefinite,
    tm.Spectrahedron,
)


def seen(manifold: tm.Manifold, x: Any) -> list[torch.Tensor]:
    """Tensors that determine a point, and are the same for all that stand for the point."""
    if isinstance(manifold, tm.FactoredFixedRank):
        return [manifold.dense(x)]
    if isinstance(manifold, tm.Flag):
        return [block @ block.mH for block in x.split(manifold.dims, dim=-1)]
    if isinstance(manifold, FACTORS):
        return [x @ x.mH]
    return leaves(x)


def variants(manifold: tm.Manifold) -> Iterator[tm.Manifold]:
    """The manifold with each pair of a metric and a retraction that goes together."""
    if hasattr(manifold, "manifold"):
        for inner in variants(manifold.manifold):
            yield replace(manifold, manifold=inner)
        return
    for metric in manifold.metrics:
        for retraction, rule in manifold.retractions.items():
            if metric in rule.order:
                yield replace(manifold, metric=metric(), retraction=retraction())


def entries(manifold: tm.Manifold, dtype: torch.dtype) -> torch.dtype:
    """The dtype, or the complex dtype of its precision if points are always complex."""
    return dtype.to_complex() if manifold.numbers == "complex" else dtype


def every(cases: tuple[Case, ...] = CASES) -> list[tuple[tm.Manifold, tuple[int, ...]]]:
    """All variants of all cases on all their shapes."""
    return [
        (manifold, shape)
        for case in cases
        for manifold in variants(case.manifold)
        for shape in case.shapes
    ]


def distinct() -> list[tuple[tm.Manifold, Any, tuple[Reads, ...]]]:
    """All variants on the first of their shapes, and one variant on the others.

    Each variant comes with the choices whose invariants are not yet tried: an invariant that reads
    only the manifold has the same result for all metrics and retractions.
    """
    rows: list[tuple[tm.Manifold, Any, tuple[Reads, ...]]] = []
    for case in CASES:
        tried: set[tm.Metric] = set()
        for manifold in variants(case.manifold):
            reads: tuple[Reads, ...] = ("retraction",)
            if manifold.metric not in tried:
                reads = ("metric", *reads)
            if not tried:
                reads = ("manifold", *reads)
            tried.add(manifold.metric)
            rows.append((manifold, case.shapes[0], reads))
        rows += [(case.manifold, shape, ALL) for shape in case.shapes[1:]]
    return rows + [(case.manifold, shape, ALL) for case in PRODUCTS for shape in case.shapes]


def label(value: object) -> str | None:
    """A short name of a parametrized test: its manifold, or its shape."""
    if isinstance(value, tm.Manifold):
        return repr(value)
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return None
