"""Who computes something again gives way to rounds, and to nobody who is stuck."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from dask_gradcode.cluster.worker.turns import Turns
from helpers import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_waits_for_two_messages_and_no_more() -> None:
    turns, gone_on, stack = Turns(), threading.Event(), ExitStack()
    with turns.round():
        pass
    give_way = turns.gives_way()

    def audit() -> None:
        give_way()
        gone_on.set()

    stack.enter_context(turns.round())
    thread = threading.Thread(target=audit, daemon=True)
    thread.start()
    for is_last in (False, True):
        assert not gone_on.is_set()
        with ExitStack() as next_one:
            next_one.enter_context(turns.round())  # it begins before the one before it ends
            stack.close()
            stack = next_one.pop_all()
        if is_last:
            wait_until(gone_on.is_set)
    assert turns.is_busy
    assert not give_way()  # at once, whatever is computed
    stack.close()
    assert not turns.is_busy


def test_who_computes_far_longer_than_any_before_is_not_waited_for() -> None:
    clock = Clock()
    turns = Turns(clock)
    with turns.round():
        clock.now = 3.0
    with turns.round():
        clock.now = 14.0
        assert turns.is_busy
        clock.now = 15.5
        assert not turns.is_busy
        assert not turns.gives_way()()  # returns
