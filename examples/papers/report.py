"""What the experiments of papers write: a table, the same as JSON, and the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["about", "at_least", "table", "write"]


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads an option that is a whole number from ``least`` on."""

    def whole_number(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more, got {text}")
        return value

    return whole_number


def about() -> dict[str, Any]:
    """Return the versions and the machine."""
    names = "dask-gradcode", "numpy", "scipy", "dask", "distributed"
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of the same keys as a Markdown table."""
    names = list(rows[0])
    cells = [[_text(row[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    lines = [names, ["-" * width for width in widths], *cells]
    return "\n".join(
        "| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) > 1e-12 else "0"
    return str(value)


def write(out: Path, name: str, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print tables, and write them to ``name.json``."""
    for title, rows in tables.items():
        print(f"\n{title}\n\n{table(rows)}")
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps({**tables, "about": about()}, indent=1) + "\n")
