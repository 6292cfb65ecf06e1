"""The initial state of every test: one thread, a fixed seed, no window."""

from collections.abc import Iterator

import hypothesis
import matplotlib
import pytest
import torch

matplotlib.use("Agg")

# One thread, because the tests run side by side, and so that sums are always the same.
torch.set_num_threads(1)

# Derandomized, so that a run that fails here fails everywhere. There is no deadline, because the
# first call of a compiled or batched function is slow.
hypothesis.settings.register_profile("torchmanifold", derandomize=True, deadline=None)
hypothesis.settings.load_profile("torchmanifold")


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    """Seed torch, and fail a test that leaves the global defaults changed."""
    torch.manual_seed(0)
    yield
    changed = torch.get_default_dtype() != torch.float32 or not torch.is_grad_enabled()
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    assert not changed, "the test left the default dtype or the grad mode changed"
