"""Two processes: data parallel and sharded training of parametrized modules."""

import copy
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import torchmanifold.parametrize as parametrize

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")


class Shifted(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.register_buffer("base", base.detach().clone())

    def forward(self, x):
        return self.base + torch.sin(x)

    def right_inverse(self, x):
        self.base.copy_(x)
        return torch.zeros_like(x)


def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
    for layer in (net[0], net[2]):
        parametrize.register_parametrization(layer, "weight", Shifted(layer.weight))
    return net


def train(net, batches, around=None):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for batch in batches:
        optimizer.zero_grad()
        with parametrize.cached(*around or ()):
            net(batch).square().mean().backward()
        optimizer.step()


def expected():
    net = model()
    train(net, batches())
    return [p.detach() for p in net.parameters()]


def batches():
    return torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))


def data_parallel(rank):
    net = DistributedDataParallel(model())
    train(net, batches().chunk(2, dim=1)[rank], around=[net])
    torch.testing.assert_close([p.detach() for p in net.module.parameters()], expected())
    plain = parametrize.plain_state_dict(net.module)
    twin = copy.deepcopy(net.module)
    twin.load_state_dict(plain)
    torch.testing.assert_close(twin[0].weight, net.module[0].weight)


def sharded(rank):
    net = model()
    for layer in (net[0], net[2]):
        fully_shard(layer)
    fully_shard(net)
    train(net, batches().chunk(2, dim=1)[rank], around=[net])
    full = [p.full_tensor().detach() for p in net.parameters()]
    torch.testing.assert_close(full, expected())


def own_seeds(rank):
    """The documented way to keep processes equal without sending buffers at every step."""
    nets = []
    for together in (True, False):
        torch.manual_seed(rank)
        net = nn.Linear(4, 4)
        parametrize.register_parametrization(net, "weight", Shifted(net.weight))
        if together:
            for buffer in net.buffers():
                dist.broadcast(buffer, src=0)
        nets.append(DistributedDataParallel(net, broadcast_buffers=False))
    for net, together in zip(nets, (True, False), strict=True):
        train(net, batches().chunk(2, dim=1)[rank])
        weights = [torch.empty(4, 4), torch.empty(4, 4)]
        dist.all_gather(weights, net.module.weight.detach().contiguous())
        assert torch.allclose(*weights) == together


def start(rank, work, path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    try:
        work(rank)
    finally:
        dist.destroy_process_group()
    # All checks have passed; a thread of PyTorch can abort the exit of the interpreter.
    os._exit(0)


@pytest.mark.parametrize("work", [data_parallel, sharded, own_seeds])
def test_two_processes(work, tmp_path):
    mp.spawn(start, args=(work, tmp_path / "rendezvous"), nprocs=2)
