"""Versions and machine, for the record."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

__all__ = ["environment"]

PACKAGES = ("torchmanifold", "torch", "geotorch", "numpy", "scipy", "scikit-learn")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def environment(device: str) -> dict[str, str]:
    """Versions and machine, for the record.

    Example:
        >>> sorted(environment("cpu"))[:3]
        ['geotorch', 'numpy', 'processor']
    """
    about = {name: version(name) for name in PACKAGES}
    about["torch"] = torch.__version__
    about["python"] = platform.python_version()
    about["system"] = platform.platform()
    about["processor"] = f"{_processor()}, {os.cpu_count()} cores"
    if device == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
    return about
