"""The engines by name, and their requirements."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import torch

from torchmanifold.optim.compare.engine.local import LocalPool

__all__ = ["ENGINES", "cores", "executor_of"]

JOBS = 100  # simultaneous jobs of Slurm


def cores() -> int:
    """Cores that this process may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def _needed(package: str, engine: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"engine {engine} needs {error.name}: pip install 'torchmanifold[{engine}]'"
        ) from error


def _local(where: str, workers: int | None, device: str) -> tuple[Executor | None, int]:
    if where:
        raise ValueError(f"engine local takes no address, got {where!r}")
    # A run needs a GPU of its own, so there are as many simultaneous runs as devices.
    most = torch.cuda.device_count() if device == "cuda" else (workers or cores())
    count = min(workers or most, most)
    return (None, 1) if count == 1 else (LocalPool(count, device), count)


class _Dask(Executor):
    """A client of dask, whose own cluster ends with it."""

    def __init__(self, client: Any, own: bool) -> None:
        # Dask must not merge equal runs.
        self._client, self._inner, self._own = client, client.get_executor(pure=False), own

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call, as to any executor."""
        future: Future[Any] = self._inner.submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the scheduler of a user, and end our own."""
        self._inner.shutdown(wait=wait and not cancel_futures)
        cluster = self._client.cluster
        self._client.close()
        if self._own:
            cluster.close()


def _dask(where: str, workers: int | None, device: str) -> tuple[Executor | None, int]:
    distributed = _needed("distributed", "dask")
    try:
        client = (
            distributed.Client(where, timeout=10)
            if where
            else distributed.Client(n_workers=workers or cores(), threads_per_worker=1)
        )
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(f"engine dask: no scheduler answers at {where}: {error}") from error
    count = len(client.scheduler_info()["workers"]) or 1
    return _Dask(client, own=not where), count


class _Jobs(Executor):
    """The jobs of submitit as futures of the standard library."""

    def __init__(self, executor: Any, jobs: int) -> None:
        self._executor, self._waiting = executor, ThreadPoolExecutor(jobs)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a job; a thread waits for its result."""
        return self._waiting.submit(self._executor.submit(fn, *args, **kwargs).result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: queued jobs stay with the scheduler."""
        self._waiting.shutdown(wait, cancel_futures=cancel_futures)


def _slurm(where: str, workers: int | None, device: str) -> tuple[Executor | None, int]:
    submitit = _needed("submitit", "slurm")
    given = _parameters(where) if where else {}
    jobs = workers or JOBS
    try:
        executor = submitit.AutoExecutor(
            folder=given.pop("folder", "slurm-logs"), cluster=given.pop("cluster", "slurm")
        )
        executor.update_parameters(**given)
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise ValueError(f"engine slurm: {error}") from error
    return _Jobs(executor, jobs), jobs


def _parameters(path: str) -> dict[str, Any]:
    yaml = _needed("yaml", "slurm")
    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except OSError as error:
        raise ValueError(f"engine slurm: cannot read {path}: {error.strerror}") from error
    if not isinstance(found, dict):
        raise ValueError(f"engine slurm: {path} must hold names and values, as timeout_min: 60")
    return found


Choose = Callable[[str, int | None, str], tuple[Executor | None, int]]

ENGINES: Mapping[str, Choose] = {"local": _local, "dask": _dask, "slurm": _slurm}


def executor_of(
    engine: str | Executor, workers: int | None, device: str
) -> tuple[Executor | None, int]:
    """The executor of an engine, and its number of simultaneous runs.

    Args:
        engine: `"local"`, `"dask"`, `"dask=tcp://host:8786"`, `"slurm"`, `"slurm=config.yml"`, or
            any `concurrent.futures.Executor`.
        workers: the number of simultaneous runs; by default the number of available workers.
        device: "cpu" or "cuda".

    Returns:
        The executor, None for this process.

    Raises:
        ValueError: for an unknown engine, for an engine whose package is not installed, or for an
            address at which no scheduler answers.
    """
    if isinstance(engine, Executor):
        return engine, workers or getattr(engine, "_max_workers", None) or cores()
    name, _, where = engine.partition("=")
    if name not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {name!r}")
    return ENGINES[name](where, workers, device)
