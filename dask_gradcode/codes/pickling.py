"""Codes that a script or a notebook defines travel by value."""

from __future__ import annotations

import copyreg
import sys
from functools import cached_property
from typing import Any

__all__ = ["let_be_pickled"]


def let_be_pickled() -> None:
    """Let cached properties be pickled by value: before Python 3.12 they have a lock."""
    if sys.version_info < (3, 12):
        copyreg.pickle(cached_property, _unlocked)


def _unlocked(item: cached_property[Any]) -> tuple[Any, ...]:
    return cached_property, (item.func,), {"attrname": item.attrname, "__doc__": item.__doc__}
