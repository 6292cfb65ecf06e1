"""The bound on spectral norms of skew matrices, single and in a batch."""

import math

import pytest
import torch

from torchmanifold.manifolds.linalg import skew_norm_bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_it_bounds_and_is_that_of_the_largest_of_a_batch(n: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    z = torch.randn(5, n, n, dtype=dtype)
    a = z - z.mH
    single = [skew_norm_bound(x, x @ x) for x in a]
    assert skew_norm_bound(a, a @ a) == pytest.approx(max(single), rel=1e-6, abs=1e-6)
    for bound, x in zip(single, a, strict=True):
        norm = float(torch.linalg.matrix_norm(x, 2))
        assert norm * (1 - 1e-5) <= bound <= math.sqrt(n) * norm * (1 + 1e-5)
        assert skew_norm_bound(x[None], (x @ x)[None]) == bound


@pytest.mark.parametrize("batch", [(), (1,), (2,)], ids=str)
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_what_is_zero_or_not_finite_has_the_bound_zero(
    batch: tuple[int, ...], value: float
) -> None:
    a = torch.zeros(*batch, 3, 3)
    a[..., 0, 1], a[..., 1, 0] = value, -value
    assert skew_norm_bound(a, a @ a) == 0
