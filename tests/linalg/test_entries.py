"""Known entries of a product of two factors, against the dense product."""

import pytest
import torch

import torchmanifold as tm

ROWS, COLUMNS = torch.tensor([2, 0, 1, 2, 0]), torch.tensor([1, 0, 2, 1, 3])  # unsorted, one twice


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_entries_and_their_derivatives_are_those_of_the_dense_product(dtype):
    entries = tm.Entries(ROWS, COLUMNS, (3, 4))
    left = torch.randn(3, 2, dtype=dtype, requires_grad=True)
    right = torch.randn(4, 2, dtype=dtype, requires_grad=True)
    values = torch.randn(5, dtype=dtype, requires_grad=True)
    dense = torch.zeros(3, 4, dtype=dtype).index_put((ROWS, COLUMNS), values, accumulate=True)
    torch.testing.assert_close(entries(left, right), (left @ right.mH)[ROWS, COLUMNS])
    torch.testing.assert_close(entries.times(values, right), dense @ right)
    assert torch.autograd.gradcheck(entries, (left, right))
    assert torch.autograd.gradgradcheck(entries, (left, right))
    assert torch.autograd.gradgradcheck(entries.times, (values, right))


def test_many_positions_are_gathered_in_blocks():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(50, (20_000,), generator=generator)
    columns = torch.randint(40, (20_000,), generator=generator)
    left, right = torch.randn(50, 3), torch.randn(40, 3)
    entries = tm.Entries(rows, columns, (50, 40))
    torch.testing.assert_close(entries(left, right), (left @ right.mT)[rows, columns])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0, 1], COLUMNS, (3, 4)), TypeError, "rows must be a tensor of integers .* got list"),
        ((ROWS, COLUMNS.double(), (3, 4)), TypeError, "columns must be .* got torch.float64"),
        ((ROWS, COLUMNS[1:], (3, 4)), ValueError, "one length, got 5 and 4"),
        ((ROWS, COLUMNS, (3, 3)), ValueError, "columns must lie in 0, ..., 2, got 0 to 3"),
        ((ROWS - 1, COLUMNS, (3, 4)), ValueError, "rows must lie in 0, ..., 2, got -1 to 1"),
    ],
)
def test_wrong_positions_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        tm.Entries(*arguments)


def test_factors_of_another_shape_are_refused():
    entries = tm.Entries(ROWS, COLUMNS, (3, 4))
    with pytest.raises(ValueError, match=r"must have the shapes \(3, k\) and \(4, k\), got"):
        entries(torch.ones(4, 2), torch.ones(3, 2))
