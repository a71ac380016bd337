"""Slow uplinks: what may be sent when, and that what is sent in pieces arrives whole."""

from __future__ import annotations

import math
import socket
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_gradcode.cluster import Throttle
from dask_gradcode.cluster.worker import throttle
from dask_gradcode.cluster.worker.outbox import Outbox
from dask_gradcode.cluster.worker.throttle import Bucket
from dask_gradcode.cluster.worker.wire import TO_CLIENT, Kind, Reader, pack


class Clock:
    """A clock of which the test says how it goes; naps pass at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Event(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert timeout > 0
        self.clock.now += timeout
        return self.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttle, "time", clock)
    return clock


def bucket(rate: float, clock: Clock) -> Bucket:
    made = Bucket(Throttle(rate))
    made._over = Event(clock)
    return made


@pytest.mark.parametrize("rate", [1e4, 1e6, 1e9])
def test_no_more_goes_than_flows_and_all_of_that(clock: Clock, rate: float) -> None:
    link, left, most = bucket(rate, clock), int(rate), max(4096.0, rate * 0.02)
    total = left
    while left:
        allowed = link.allowance(left)
        link.spend(allowed)
        left -= allowed
        assert total - left <= most + rate * clock.now + 1
    assert clock.now == pytest.approx((total - most) / rate, rel=0.05)


def test_what_the_socket_did_not_take_may_still_go(clock: Clock) -> None:
    link = bucket(1e5, clock)
    allowed = link.allowance(10**6)
    link.spend(allowed // 2)
    assert link.allowance(10**6) == allowed - allowed // 2


def test_once_it_is_over_everything_may_go() -> None:
    link = Bucket(Throttle(1.0))
    link.end()
    assert link.allowance(10**9) == 10**9


@pytest.mark.parametrize("rate", [0, -1.0, math.inf, math.nan, "1 MB", None, True])
def test_what_is_no_rate_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match="Throttle needs bytes_per_second > 0"):
        Throttle(rate)


class Drawn:
    """A pace that allows what is drawn."""

    def __init__(self, allowed: list[int]) -> None:
        self.allowed, self.spent, self.open = allowed, 0, 0

    def allowance(self, wanted: int) -> int:
        self.open = min(wanted, self.allowed.pop() if self.allowed else wanted)
        return self.open

    def spend(self, n_bytes: int) -> None:
        assert n_bytes <= self.open
        self.spent += n_bytes


@given(allowed=st.lists(st.integers(0, 300), max_size=40), sizes=st.lists(st.integers(0, 40)))
def test_frames_that_go_in_pieces_arrive_whole(allowed: list[int], sizes: list[int]) -> None:
    pace, (here, there) = Drawn(allowed), socket.socketpair()
    with here, there:
        here.setblocking(False)
        outbox, reader = Outbox(here, pace), Reader(there, TO_CLIENT)
        bodies = [np.arange(float(size)) + index for index, size in enumerate(sizes)]
        for index, body in enumerate(bodies):
            outbox.add(pack(Kind.ANSWER, 0, index, body))
        came = []
        done = False
        while not done:
            done = outbox.flush()
            frame = reader.read()
            while frame is not None:
                came.append(frame.body.view(np.float64).copy())
                frame = reader.read()
        assert [body.tolist() for body in came] == [body.tolist() for body in bodies]
