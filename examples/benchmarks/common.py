"""What benchmarks share: the paper's data, and what is written beside figures."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
import amazon

__all__ = ["about", "amazon"]

PACKAGES = ("dask-gradcode", "numpy", "scipy", "scikit-learn", "dask", "distributed")


def about() -> dict[str, Any]:
    """Return the versions and the machine."""
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
    }
