"""A pool of processes on this machine, which can be renewed when one of them is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

import torch

__all__ = ["LocalPool"]


def _begin_worker(device_of: Any) -> None:
    # One thread each, because matrices are small and cores are shared. The parent handles Ctrl-C.
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if device_of is not None:
        torch.cuda.set_device(device_of.get())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A killed parent cannot tell its pool to end, so the workers would wait for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep new processes from running the user's script again; runs use references instead."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    try:
        vars(main).pop("__file__", None)
        vars(main)["__spec__"] = None
        yield
    finally:
        vars(main).update(kept)


class _Process(SpawnProcess):
    def start(self) -> None:
        with _without_main():
            super().start()


class _Context(SpawnContext):
    # Not forked, because a forked process inherits thread pools that do not work in it.
    Process = _Process


class LocalPool(Executor):
    """`ProcessPoolExecutor` whose processes have one thread each, and that can be renewed.

    Args:
        workers: number of processes; with CUDA at most one for each device.
        device: "cpu" or "cuda".

    Example:
        >>> LocalPool(2).workers
        2
    """

    def __init__(self, workers: int, device: str = "cpu") -> None:
        self.workers, self.device = workers, device
        self._pool = self._made()

    def _made(self) -> ProcessPoolExecutor:
        context = _Context()
        devices = None
        if self.device == "cuda":
            devices = context.SimpleQueue()
            for number in range(self.workers):
                devices.put(number)
        return ProcessPoolExecutor(
            self.workers, mp_context=context, initializer=_begin_worker, initargs=(devices,)
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call, as to any executor."""
        return self._pool.submit(fn, *args, **kwargs)

    def renew(self) -> None:
        """Begin with new processes, after one was killed."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._made()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the pool down, as any executor."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
