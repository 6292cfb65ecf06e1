"""What every test starts from: one thread, a fixed seed, no window."""

from collections.abc import Iterator

import hypothesis
import matplotlib
import pytest
import torch

matplotlib.use("Agg")

# One thread: the tests run side by side, and sums come out the same every time.
torch.set_num_threads(1)

# Derandomized: a run that fails here fails everywhere. The first call of a compiled
# or batched function is slow, which is no fault of the property.
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
