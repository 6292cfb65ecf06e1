"""Maps onto sets: projections are in the set, near the argument, and in the map's image."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.maps.modules.sets import SetMap

SETS: dict[str, Callable[[], SetMap]] = {
    "lower": maps.Triangular,
    "upper": lambda: maps.Triangular(upper=True, diagonal=1),
    "unit norm": maps.UnitNorm,
    "positive": maps.Positive,
    "positive determinant": maps.PositiveDeterminant,
    "unit determinant": maps.UnitDeterminant,
    "hurwitz": maps.Hurwitz,
    "hurwitz with a margin": lambda: maps.Hurwitz(0.5),
    "low rank": lambda: maps.LowRank(2),
    "fixed rank": lambda: maps.FixedRank(2),
    "semidefinite": lambda: maps.PositiveSemidefinite(2),
    "spectral bound": maps.SpectralBound,
    "almost orthogonal": lambda: maps.SpectralBound(0.5, 1.5),
}
# Maps of only real matrices.
REAL = ("positive", "positive determinant", "unit determinant")
over_sets = pytest.mark.parametrize("name", SETS)
GIVEN: dict[str, Callable[[], Tensor]] = {
    "normal": lambda: torch.randn(5, 5),
    "zero": lambda: torch.zeros(5, 5),
    "identity": lambda: torch.eye(5),
    "-identity": lambda: -torch.eye(5),
    "rank one": lambda: torch.outer(*torch.randn(2, 5, dtype=torch.float64)),
    "reflection": lambda: torch.eye(5) - 2 * torch.ones(5, 5) / 5,
    "nilpotent": lambda: torch.ones(5, 5).triu(1),
    "tiny": lambda: 1e-10 * torch.randn(5, 5),
    "large": lambda: 1e10 * torch.randn(5, 5),
}
# Cases in which the map has no accurate inverse, and the right inverse raises.
NOT_REACHED = {
    ("positive determinant", "-identity"),
    ("unit determinant", "-identity"),
    ("hurwitz", "nilpotent"),
    ("hurwitz with a margin", "nilpotent"),
}


def _reached(module: SetMap, x: Tensor) -> Tensor:
    free = module.right_inverse(x)
    return module(*free) if isinstance(free, tuple) else module(free)


@over_sets
@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex128], ids=str
)
def test_project_reaches_the_set(name: str, given: str, dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and name.startswith(("hurwitz", "unit determinant")):
        return  # rounding moves eigenvalues and determinants out
    module = SETS[name]()
    z = torch.stack([GIVEN[given]() for _ in range(3)]).double().to(dtype)
    if dtype.is_complex:
        if name in REAL:
            return
        z = z * (1 + 0.5j)
    x = module.project(z)
    assert x.shape == z.shape and x.dtype == z.dtype
    eps, size = torch.finfo(dtype).eps, float(x.abs().max())
    assert bool((module.residual(x) <= 100 * eps).all())
    torch.testing.assert_close(module.project(x), x, rtol=0, atol=100 * eps * size)
    if (name, given) in NOT_REACHED:
        with pytest.raises(ValueError, match="no inverse|so near to unstable ones"):
            module.right_inverse(x)
    else:
        assert float((_reached(module, x) - x).abs().max()) <= 2000 * eps * size


@over_sets
def test_residual_tells_points_from_others(name: str) -> None:
    module = SETS[name]()
    x = module.random(4, 5, 5, dtype=torch.float64)
    assert bool((module.residual(x) < 1e-14).all())
    off = -x if name not in ("lower", "upper", "low rank", "fixed rank", "unit norm") else x + 0.1
    off = 3 * x if "bound" in name or name == "almost orthogonal" else off
    assert bool((module.residual(off) > 1e-3).any())
    torch.testing.assert_close(module.project(x), x, rtol=1e-13, atol=1e-13)


@over_sets
def test_random_takes_a_generator(name: str) -> None:
    module = SETS[name]()
    x, y, z = (
        module.random(2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for seed in (0, 0, 1)
    )
    assert torch.equal(x, y) and not torch.equal(x, z)
    assert float((_reached(module, x) - x).abs().max()) < 1e-12


@over_sets
def test_nan_stays_with_its_matrix(name: str) -> None:
    module = SETS[name]()
    z = torch.randn(3, 4, 4)
    expected = module.project(z)
    z[1] = torch.nan
    x = module.project(z)
    assert bool(torch.isnan(x[1]).any()) and not bool(torch.isnan(x[[0, 2]]).any())
    torch.testing.assert_close(x[[0, 2]], expected[[0, 2]])


def test_nearest_where_it_says_so() -> None:
    """No other point is nearer: the distances equal closed forms."""
    z = torch.randn(6, 6, dtype=torch.float64)
    s = torch.linalg.svdvals(z)
    distance = float((z - maps.LowRank(2).project(z)).norm())
    assert distance == pytest.approx(float(s[2:].norm()))
    distance = float((z - maps.SpectralBound().project(z)).norm())
    assert distance == pytest.approx(float((s - 1).clamp_min(0).norm()))


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (maps.Hurwitz(), (3, 2), r"Hurwitz.project: expected \(\*, n, n\), got shape \(3, 2\)"),
        (maps.UnitDeterminant(), (3,), "UnitDeterminant.project: expected"),
        (maps.PositiveDeterminant(), (2, 3), "PositiveDeterminant.project: expected"),
        (maps.FixedRank(3), (4, 2), "FixedRank.project: expected .* n, p >= 3, got"),
        (maps.PositiveSemidefinite(3), (2, 2), "PositiveSemidefinite.project: expected"),
    ],
)
def test_shapes_without_a_point(module: SetMap, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module.project(torch.randn(shape))


def test_determinants_of_complex_matrices_are_refused() -> None:
    for module in (maps.PositiveDeterminant(), maps.UnitDeterminant()):
        with pytest.raises(ValueError, match="real matrices only, got torch.complex64"):
            module.project(torch.eye(2, dtype=torch.complex64))


@pytest.mark.parametrize("name", [n for n in SETS if "rank" not in n and n != "semidefinite"])
def test_no_entries(name: str) -> None:
    module = SETS[name]()
    for shape in ((0, 4, 4), (2, 0, 0)):
        if name == "unit norm" and shape == (2, 0, 0):
            continue  # a vector without entries has no norm 1
        x = module.project(torch.zeros(shape))
        assert (
            x.shape == shape and module.residual(x).shape == x.shape[: x.ndim - len(module.event)]
        )


@pytest.mark.parametrize("power", [-40, -30, 19, 30, 36])
@pytest.mark.parametrize("name", ["Hurwitz", "UnitDeterminant", "PositiveDeterminant"])
def test_projections_do_not_overflow(name, power):
    module = getattr(maps, name)()
    z = torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(0)) * 10.0**power
    x = module.project(z)
    assert torch.isfinite(x).all()
    if name != "PositiveDeterminant" or power > 0:
        assert (module.residual(x) <= 1e-4).all()


@pytest.mark.parametrize("name", ["Hurwitz", "UnitDeterminant", "PositiveDeterminant"])
def test_projections_refuse_integers(name):
    with pytest.raises(TypeError, match=f"{name}.project: expected a floating point tensor"):
        getattr(maps, name)().project(torch.ones(4, 4, dtype=torch.int64))
