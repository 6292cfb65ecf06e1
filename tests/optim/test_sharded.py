"""Sharded weights (FSDP2): a step in several processes is the step of one process."""

import copy
import functools
import io
import os
import pickle

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

import torchmanifold as tm

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")

SGD, Adam, RMSprop = tm.optim.RiemannianSGD, tm.optim.RiemannianAdam, tm.optim.RiemannianRMSprop
OPTIMIZERS = [
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "average": "euclidean", "weight_decay": 0.1}),
    (Adam, {"lr": 0.05, "amsgrad": True}),
    (Adam, {"lr": 0.05, "second_moment": "element", "nonfinite": "skip"}),
    (RMSprop, {"lr": 0.05, "momentum": 0.5, "nonfinite": "raise"}),
    (tm.optim.RiemannianMuon, {"lr": 0.05, "weight_decay": 0.1}),
]


class Net(nn.Module):
    """Stacks of similar weights, single ones, uneven rows, and fewer rows than processes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(7, 5)
        self.like = nn.ModuleList(nn.Linear(5, 5) for _ in range(4))
        self.kernel = nn.Conv2d(5, 4, 2)
        self.unit = nn.Linear(4, 3)
        self.spd = nn.Linear(3, 3, bias=False)
        self.last = nn.Linear(3, 1, bias=False)
        self.double()
        for layer in (self.first, *self.like[:3]):
            tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian")
        tm.constrain(self.like[3], "weight", tm.SpecialOrthogonal(), how="riemannian")
        tm.constrain(self.kernel, "weight", tm.Stiefel(), how="riemannian", flatten=True)
        tm.constrain(self.unit, "weight", tm.Sphere(), how="riemannian")
        tm.constrain(self.unit, "bias", tm.Sphere(), how="riemannian")
        tm.constrain(self.spd, "weight", tm.SymmetricPositiveDefinite(), how="riemannian")
        tm.constrain(self.last, "weight", tm.Stiefel(), how="riemannian")

    def forward(self, x):
        x = self.first(x)
        for layer in self.like:
            x = torch.tanh(layer(x))
        x = self.kernel(x[..., None, None].expand(-1, -1, 2, 2)).flatten(1)
        return self.last(torch.tanh(self.spd(self.unit(x))))


def sharded(net):
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            fully_shard(layer)
    return fully_shard(net)


def train(net, optimizer, steps, start=0, share=(0, 1)):
    rank, world = share
    for i in range(start, start + steps):
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(i)
        x = torch.randn(6, 7, generator=generator, dtype=torch.float64)
        net(x.chunk(world)[rank]).square().mean().backward()
        optimizer.step()


def feed(net, optimizer, steps, start=0):
    """Steps along the same gradients, on whichever process they are."""
    for i in range(start, start + steps):
        generator = torch.Generator().manual_seed(i)
        for p in net.parameters():
            grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.grad = grad
            if isinstance(p, DTensor):
                p.grad = distribute_tensor(grad, p.device_mesh, p.placements)
        optimizer.step()


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def alike(net, other, tolerance=1e-11):
    pairs = zip(net.named_parameters(), other.parameters(), strict=True)
    for (name, p), q in pairs:
        error = (whole(p) - whole(q)).detach().abs().max()
        assert error <= tolerance, (name, float(error))


def a_step_is_the_step_of_one_process(rank, world):
    for ours, options in OPTIMIZERS:
        alone, together = Net(), sharded(Net())
        feed(alone, ours(alone, **options), 4)
        feed(together, ours(together, **options), 4)
        alike(together, alone)
        assert tm.Stiefel().residual(together.like[0].weight.full_tensor()) < 1e-12


def training_is_that_of_one_process(rank, world):
    """Also where the optimizer was not given the model."""
    for take in (lambda net: net, lambda net: net.parameters(), tm.optim.param_groups):
        alone, together = Net(), sharded(Net())
        train(alone, SGD(alone, lr=0.1, momentum=0.9), 3)
        train(together, SGD(take(together), lr=0.1, momentum=0.9), 3, share=(rank, world))
        alike(together, alone)


def sharded_by_columns(rank, world):
    layers = []
    for _ in range(2):
        torch.manual_seed(0)
        layer = nn.Linear(6, 4, dtype=torch.float64)
        layers.append(tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian"))
    fully_shard(layers[1], shard_placement_fn=lambda p: Shard(p.ndim - 1) if p.ndim > 1 else None)
    assert layers[1].weight.placements == (Shard(1),)
    for layer in layers:
        optimizer = Adam(layer, lr=0.05)
        for _ in range(4):
            optimizer.zero_grad()
            layer(torch.linspace(-1, 1, 6, dtype=torch.float64)).cos().sum().backward()
            optimizer.step()
    alike(layers[1], layers[0])


def weights_written_to_after_sharding_are_refused(rank, world):
    """All processes must raise, or one would wait for the others."""
    net = sharded(Net())
    optimizer = SGD(net, lr=0.1)
    feed(net, optimizer, 2)
    before = whole(net.last.weight).clone()
    with torch.no_grad():
        net.first.weight.mul_(2)
    with pytest.raises(RuntimeError, match="initialize weights before they are constrained"):
        feed(net, optimizer, 1)
    assert torch.equal(whole(net.last.weight), before)
    with torch.no_grad():
        net.first.weight.mul_(0.5)
    feed(net, optimizer, 1)


def clipping_is_that_of_one_process(rank, world):
    alone, together = Net(), sharded(Net())
    for net in (alone, together):
        feed(net, SGD(net, lr=0.1), 1)
    totals = [tm.optim.clip_grad_norm_(net, 0.1) for net in (alone, together)]
    assert torch.allclose(*totals, rtol=1e-12) and totals[0] > 0.1
    for p, q in zip(alone.parameters(), together.parameters(), strict=True):
        assert torch.allclose(p.grad, whole(q.grad), rtol=1e-12)


def each_process_moves_its_share(rank, world):
    net = sharded(Net())
    moved = []

    @functools.wraps(SGD.rule)
    def counted(manifold, x, egrad, state, **options):
        moved.append(len(x))
        return SGD.rule(manifold, x, egrad, state, **options)

    class Counting(SGD):
        rule = staticmethod(counted)

    train(net, Counting(net, lr=0.1), 1, share=(rank, world))
    everybody = [None] * world
    dist.all_gather_object(everybody, sum(moved))
    constrained = [p for p in net.parameters() if tm.manifold_of(p) is not None]
    assert sum(everybody) == len(constrained)
    assert max(everybody) <= 1 + len(constrained) / world


def state_is_sharded_and_a_run_goes_on(rank, world):
    for ours, options in OPTIMIZERS:
        net = sharded(Net())
        optimizer = ours(net, **options)
        feed(net, optimizer, 3)
        for p in net.parameters():
            for value in optimizer.state[p].values():
                if value.ndim == p.ndim:
                    assert value.shape == p.shape and value.placements == p.placements
                else:
                    assert not isinstance(value, DTensor)
        saved = io.BytesIO()
        torch.save((net.state_dict(), optimizer.state_dict()), saved)
        gathered = StateDictOptions(full_state_dict=True, cpu_offload=True)
        full = copy.deepcopy(get_optimizer_state_dict(net, optimizer, options=gathered))
        feed(net, optimizer, 3, start=3)

        saved.seek(0)
        weights, state = torch.load(saved, weights_only=True)
        again = sharded(Net())
        resumed = ours(again, **options)
        again.load_state_dict(weights)
        resumed.load_state_dict(state)
        feed(again, resumed, 3, start=3)
        alike(again, net, tolerance=0)

        # The parts of all processes together are the state of one.
        alone = Net()
        single = ours(alone, **options)
        feed(alone, single, 3)
        for name, p in alone.named_parameters():
            if rank == 0:
                assert full["state"][name].keys() == single.state[p].keys()
                for key, value in single.state[p].items():
                    error = (full["state"][name][key] - value).abs().max()
                    assert error <= 1e-10 * (1 + value.abs().max()), (name, key)


def nothing_is_euclidean(rank, world):
    for travel in (copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))):
        net = sharded(travel(Net()))
        foreign = torch.optim.SGD(net.parameters(), lr=0.1)
        with pytest.raises(RuntimeError, match="would move a weight of shape"):
            train(net, foreign, 1, share=(rank, world))
        net.load_state_dict(sharded(Net()).state_dict())
        optimizer = SGD(list(net.parameters()), lr=0.1)
        train(net, optimizer, 2, share=(rank, world))
        assert tm.Stiefel().residual(net.like[0].weight.full_tensor()) < 1e-12
    plain = fully_shard(nn.Linear(4, 4))
    plain(torch.ones(1, 4)).sum().backward()
    torch.optim.SGD(plain.parameters(), lr=0.1).step()


def values_off_the_manifold_are_refused(rank, world):
    net = sharded(Net())
    state = net.state_dict()
    state["like.0.weight"] = state["like.0.weight"] * 2
    with pytest.raises(RuntimeError, match="like.0.weight' is not on Stiefel"):
        net.load_state_dict(state)


def one_bad_shard_skips_the_weight(rank, world):
    net = sharded(Net())
    optimizer = Adam(net, lr=0.1, nonfinite="skip")
    train(net, optimizer, 1, share=(rank, world))
    before = {name: p.full_tensor().clone() for name, p in net.named_parameters()}
    bad = ("first.weight", "first.bias", "like.1.weight", "spd.weight")
    for name, p in net.named_parameters():
        p.grad = torch.full_like(p, 0.1)
        if name in bad and rank == 0:
            p.grad.to_local().view(-1)[0] = torch.nan
    optimizer.step()
    for name, p in net.named_parameters():
        assert torch.equal(p.full_tensor(), before[name]) == (name in bad), name
        assert whole(optimizer.state[p]["skipped"]) == (name in bad)
    for group in optimizer.param_groups:
        group["nonfinite"] = "raise"
    before = {name: p.full_tensor().clone() for name, p in net.named_parameters()}
    with pytest.raises(FloatingPointError, match="no weight was moved"):
        optimizer.step()
    assert all(torch.equal(p.full_tensor(), before[name]) for name, p in net.named_parameters())


def half_precision_has_a_sharded_master(rank, world):
    layer, twin = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    twin.load_state_dict(layer.state_dict())
    for module in (layer, twin):
        tm.constrain(module, "weight", tm.Stiefel(), how="riemannian").bfloat16()
    torch.manual_seed(0)
    with torch.no_grad():
        twin.weight.copy_(tm.Stiefel().random(8, 8))
        layer.weight.copy_(twin.weight)
    fully_shard(layer)
    optimizers = [SGD(m, lr=1e-3, momentum=0.5) for m in (layer, twin)]
    for i in range(5):
        grad = torch.randn(8, 8, generator=torch.Generator().manual_seed(i)).bfloat16()
        twin.weight.grad = grad
        layer.weight.grad = distribute_tensor(
            grad, layer.weight.device_mesh, layer.weight.placements
        )
        for optimizer in optimizers:
            optimizer.step()
    master, alone = (
        o.state[m.weight]["master"] for o, m in zip(optimizers, (layer, twin), strict=True)
    )
    assert master.dtype == torch.float32 and master.placements == layer.weight.placements
    assert torch.equal(master.full_tensor(), alone)
    assert torch.equal(layer.weight.full_tensor(), twin.weight)


def two_sharded_dimensions_are_refused(rank, world):
    mesh = init_device_mesh("cpu", (world, 1), mesh_dim_names=("a", "b"))
    weight = distribute_tensor(torch.eye(4), mesh, [Shard(0), Shard(1)])
    layer = nn.Linear(4, 4, bias=False)
    tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian")
    layer.weight = nn.Parameter(weight)
    with pytest.raises(NotImplementedError, match="one dimension of the mesh"):
        SGD(layer, lr=0.1)


def the_dial(rank, world):
    """The coordinates of a parametrized weight are sharded, its base is not."""
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 1)).double())
        tm.constrain(nets[-1][0], "weight", tm.Stiefel())
    fully_shard(nets[1])
    for net, (part, parts) in zip(nets, ((0, 1), (rank, world)), strict=True):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        tm.optim.rebase_every(net, optimizer, steps=2)
        for i in range(5):
            optimizer.zero_grad()
            x = torch.randn(6, 7, generator=torch.Generator().manual_seed(i)).double()
            net(x.chunk(parts)[part]).square().mean().backward()
            optimizer.step()
    original = nets[1][0].parametrizations.weight.original
    assert isinstance(original, DTensor) and (original.full_tensor() != 0).any()
    alike(nets[1], nets[0])
    bases = [net[0].parametrizations.weight[0].base for net in nets]
    assert torch.allclose(*bases, rtol=0, atol=1e-12)


def too_late(rank, world):
    layer = fully_shard(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="constrain it before fully_shard"):
        tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian")


def data_parallel(rank, world):
    alone, net = Net(), DistributedDataParallel(Net())
    train(alone, SGD(alone, lr=0.1, momentum=0.9), 3)
    optimizer = SGD(net, lr=0.1, momentum=0.9)
    train(net, optimizer, 3, share=(rank, world))
    alike(net.module, alone)
    with pytest.raises(RuntimeError, match="would move a weight of shape"):
        torch.optim.SGD(net.parameters(), lr=0.1).step()


CHECKS = [
    a_step_is_the_step_of_one_process,
    training_is_that_of_one_process,
    sharded_by_columns,
    weights_written_to_after_sharding_are_refused,
    clipping_is_that_of_one_process,
    each_process_moves_its_share,
    state_is_sharded_and_a_run_goes_on,
    nothing_is_euclidean,
    values_off_the_manifold_are_refused,
    one_bad_shard_skips_the_weight,
    half_precision_has_a_sharded_master,
    two_sharded_dimensions_are_refused,
    data_parallel,
    the_dial,
    too_late,
]


def start(rank, world, path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=world)
    try:
        for check in CHECKS:
            check(rank, world)
        dist.barrier()  # a process that leaves early can abort at its exit
    finally:
        dist.destroy_process_group()
    # All checks have passed. A remaining thread of PyTorch would sometimes abort the exit of the
    # interpreter with "terminate called without an active exception".
    os._exit(0)


@pytest.mark.parametrize("world", [2, 3])
def test_processes(world, tmp_path):
    """All checks in the same processes, which take seconds to start."""
    mp.spawn(start, args=(world, tmp_path / "rendezvous"), nprocs=world)
