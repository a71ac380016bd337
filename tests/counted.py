"""A desk in this process whose work counts its calls, and waits where it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.desk import Desk
from dask_gradcode.codes import GradientCode
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from visits import Visit, visit_for

__all__ = ["Counted", "visited"]


class Counted:
    """A block function that counts its calls, and waits where it is told to."""

    def __init__(self) -> None:
        self.n_calls, self.error = 0, False
        self.begun, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def __call__(self, w: Vector, block: Block) -> tuple[float, Vector]:
        self.n_calls += 1
        self.begun.set()
        self.gate.wait()
        if self.error:
            raise ZeroDivisionError("a bad row")
        return float(block.n_rows), w

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return newest, ()  # the desk is in this process


_made: list[Counted] = []


def newest() -> Counted:
    return _made[-1]


@contextmanager
def visited(shard: Shard, code: GradientCode) -> Iterator[tuple[Visit, Counted]]:
    """Run a desk with a visitor, whose work is the newest of its kind."""
    _made[:] = [Counted()]
    work, desk = newest(), Desk(shard)
    serving = threading.Thread(target=desk.run)
    serving.start()
    visit = visit_for(desk, work, code)
    yield visit, work
    work.gate.set()
    visit.close()
    desk.close()
    serving.join()
