"""Results that say which worker they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distributed import get_worker

__all__ = ["Located", "located"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Located(Generic[Value]):
    """A result, and the worker that computed it."""

    worker: str
    value: Value


def located(function: Callable[..., Value], *arguments: Any) -> Located[Value]:
    """Call a function on a worker and say which that is."""
    return Located(get_worker().address, function(*arguments))
