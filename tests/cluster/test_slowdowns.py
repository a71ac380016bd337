"""Workers that are slow while they compute: between chunks and blocks, over both transports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from distributed import Client, get_worker
from numpy.testing import assert_array_equal

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import ClusterObjective, inject
from dask_gradcode.cluster.worker import delays
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import Everybody
from dask_gradcode.stragglers import Combined, FixedDelay, Slowdown
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from helpers import count_rows, in_process_coef, logistic_data, wait_until

FOR_EVER = 1e12  # times as slow: a microsecond of work takes more than a week
every_transport = pytest.mark.parametrize("transport", ["stream", "tasks"])


# ---- on a clock of its own


class Clock:
    """A clock that goes on only when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds <= delays._LOOK_EVERY
        self.now += seconds
        self.slept += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(delays, "time", clock)
    return clock


@pytest.fixture
def injection(monkeypatch: pytest.MonkeyPatch) -> Iterator[delays._Injection]:
    """Inject on "here", which is this process."""
    monkeypatch.setattr(delays, "get_worker", lambda: SimpleNamespace(address="here"))
    injection = delays._Injection(Combined([Slowdown(8.0, workers=[1]), Slowdown(1.5)]))
    delays._set(("here", "token"), injection)
    yield injection
    delays._set(("here", "token"), None)


def test_computing_takes_as_many_times_as_long_chunk_by_chunk(
    clock: Clock, injection: delays._Injection
) -> None:
    begun = []

    def compute(should_stop: delays.Callable[[], bool]) -> Vector | None:
        for took in (0.5, 0.25, 1.0):
            assert not should_stop()
            begun.append(clock.now)
            clock.now += took
        return np.ones(1)

    for role, factor in ((0, 1.5), (1, 12.0)):
        start = clock.now
        begun.clear()
        assert delays.paced(compute, lambda: False, role, role, 0, 2) is not None
        assert_array_equal(begun, start + np.array([0.0, 0.5, 0.75]) * factor)
        assert clock.now == pytest.approx(start + 1.75 * factor)


def test_a_newer_round_ends_the_wait_between_chunks_at_once(
    clock: Clock, injection: delays._Injection
) -> None:
    chunks = []

    def compute(should_stop: delays.Callable[[], bool]) -> Vector | None:
        for chunk in range(3):
            if should_stop():
                return None
            chunks.append(chunk)
            clock.now += 1.0
        return np.ones(1)

    # its second chunk would begin at 12, and its last one would end at 36
    for newer, expected in ((5.0, [0]), (13.5, [0, 1]), (30.0, [0, 1, 2])):
        clock.now = 0.0
        chunks.clear()
        over = partial(lambda newer: clock.now >= newer, newer)
        assert delays.paced(compute, over, newer, 1, 0, 2) is None
        assert chunks == expected
        assert clock.now <= newer + delays._LOOK_EVERY


def test_the_end_of_the_context_ends_the_wait_too(
    clock: Clock, injection: delays._Injection
) -> None:
    def compute(should_stop: delays.Callable[[], bool]) -> Vector | None:
        assert not should_stop()
        clock.now += 1.0
        return np.ones(1)

    def look() -> bool:
        if clock.now >= 4.0:
            injection.end()
        return False

    assert delays.paced(compute, look, "fit", 1, 0, 2) is not None
    assert clock.now == pytest.approx(4.0, abs=2 * delays._LOOK_EVERY)


def test_where_nothing_is_injected_nothing_comes_between(clock: Clock) -> None:
    def stop() -> bool:
        raise AssertionError("not asked")

    given = []
    delays.paced(given.append, stop, "fit", 0, 0, 2)
    assert given == [stop]


# ---- on real workers


X, Y = logistic_data(400, 3)


@pytest.mark.cluster
@every_transport
def test_a_newer_round_has_a_slow_worker_give_up_between_blocks(
    cluster: Client, transport: str, tmp_path: Path
) -> None:
    """It has computed one block, not none as in a pause before, nor all."""
    log = tmp_path / "blocks"
    log.touch()

    def logged(w: Vector, block: Block) -> tuple[float, Vector]:
        with log.open("a") as file:
            file.write(f"{get_worker().address} {w[0]:.0f}\n")
        return count_rows(w, block)

    def computed(number: int) -> int:
        return Counter(log.read_text().splitlines())[f"{slow} {number}"]

    with (
        place(X, Y, code=FractionalRepetition(4, 3)) as data,
        ClusterObjective(data, logged, plan=Everybody(), transport=transport) as objective,
    ):
        slow = data.addresses[2]
        with inject(cluster, Slowdown(FOR_EVER, workers=[2])):
            for number in range(3):
                seen = objective(np.full(2, float(number)))
                assert seen.value == 400.0
                assert np.isnan(seen.record.arrived_at[2])
                wait_until(lambda number=number: computed(number) == 1)
            assert not data.lost  # it lives, and is not taken for frozen
            assert [computed(number) for number in range(3)] == [1, 1, 1]

        def answered() -> bool:
            objective.drain(0.05)
            return not np.isnan(seen.record.arrived_at[2])

        wait_until(answered)  # the newest round, of which it goes on with what it has
        assert [computed(number) for number in range(3)] == [1, 1, 4]


@pytest.mark.cluster
@every_transport
def test_a_newer_round_has_a_slow_worker_give_up_between_chunks_of_rows(
    cluster: Client, transport: str, tmp_path: Path
) -> None:
    log = tmp_path / "chunks"
    log.touch()

    class Logged(Logistic):
        def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
            with log.open("a") as file:
                file.write(f"{get_worker().address}\n")
            return super().pointwise(z, y)

    def computed() -> int:
        return Counter(log.read_text().splitlines())[slow]

    rows = np.ones((160_000, 1))  # 80,000 on each, in one block: three chunks
    with (
        place(rows, np.arange(160_000) % 2, code=FractionalRepetition(2, 1)) as data,
        ClusterObjective(data, Logged(), plan=Everybody(), transport=transport) as objective,
        inject(cluster, Slowdown(FOR_EVER, workers=[0])),
    ):
        slow = data.addresses[0]
        for number in range(1, 4):
            assert np.isnan(objective(np.zeros(1)).record.arrived_at[0])
            wait_until(lambda number=number: computed() == number)
        assert computed() == 3


@pytest.mark.cluster
@every_transport
@pytest.mark.parametrize(
    "code", [Uncoded(4), FractionalRepetition(4, 1), CyclicRepetition(4, 1)], ids=repr
)
def test_a_fit_among_slow_workers_is_the_same_fit(
    cluster: Client, transport: str, code: GradientCode
) -> None:
    late = Combined([Slowdown(8.0, probability=0.3), FixedDelay(0.001, n_random=1)])
    with place(X, Y, code=code) as data, inject(cluster, late):
        model = CodedLogisticRegression(tol=1e-8, max_iter=500, transport=transport).fit(data)
    found = np.append(model.coef_, model.intercept_)
    expected = in_process_coef(X, Y, code, tol=1e-8)
    if isinstance(code, CyclicRepetition):
        np.testing.assert_allclose(found, expected, rtol=1e-7)
    else:
        assert_array_equal(found, expected)


@pytest.mark.cluster
def test_slowdowns_that_do_not_fit_the_code_are_an_error_of_the_round(cluster: Client) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, count_rows) as objective,
        inject(cluster, Slowdown(2.0, workers=[4])),
        pytest.raises(ValueError, match="names a worker that is none of 0 to 3"),
    ):
        objective(np.zeros(2))
