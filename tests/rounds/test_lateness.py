"""Who is late, on a scripted clock; everybody else who is silent was only not needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode
from dask_gradcode.rounds import (
    Arrived,
    Deadline,
    Event,
    Everybody,
    Hedging,
    Lost,
    Order,
    Ready,
    Relocated,
    Round,
    RoundRecord,
    WaitRule,
)
from dask_gradcode.rounds.lateness import IN_A_ROW, Lateness
from helpers import OwnThenNext

CODE = FractionalRepetition(4, 1)  # 0 and 1 have the same, 2 and 3 have
FROZEN = np.inf
sparing_or_not = pytest.mark.parametrize("sparing", [True, False])


class Cluster:
    """Rounds on workers that take scripted times; a new ``w`` ends the work on an older one."""

    def __init__(self, code: GradientCode = CODE, *, sparing: bool = True) -> None:
        self.code, self.clock, self.records = code, 100.0, list[RoundRecord]()
        self.planner = (Hedging() if sparing else Everybody()).start(code)
        self.lateness = Lateness(code)
        self.jobs: dict[int, tuple[Round, float]] = {}  # of which round, and when it is done

    def run(
        self, takes: Sequence[float], *news: Event, wait: WaitRule | None = None
    ) -> RoundRecord:
        """Run a round of workers that take so long for a message; begin with some events."""
        round_ = Round(len(self.records), self.code, wait, self.planner)
        for event in news:
            if isinstance(event, Lost):
                self.jobs.pop(event.role, None)
        asked: dict[int, float] = {}
        orders = round_.begin(news, self.clock)
        while round_.outcome is None:
            for order in orders:
                asked[order.role] = self.clock
                self.jobs[order.role] = round_, self.clock + takes[order.role]
            coming = [(end, role) for role, (_, end) in self.jobs.items()]
            at, role = min(coming, default=(FROZEN, -1))
            if round_.look_at is not None and round_.look_at < at:
                self.clock = max(self.clock, round_.look_at)
                orders = round_.handle(None, self.clock)
                continue
            assert at < FROZEN, "the round never ends"
            self.clock = max(self.clock, at)
            orders = self.answer(role, self.jobs.pop(role)[0], round_)
        round_.late = self.lateness.end(round_, asked)
        self.records.append(round_.record(0.0, 0.0))
        self.planner.end(self.records[-1])
        return self.records[-1]

    def answer(self, role: int, asked_by: Round, now_running: Round) -> list[Order]:
        message = self.code.messages_of[role][0]
        event = Arrived(asked_by.number, role, message, np.zeros(2))
        orders = asked_by.handle(event, self.clock)
        if asked_by is not now_running:
            self.lateness.heard(asked_by, role, self.clock)
        return orders

    def late(self) -> list[tuple[int, ...]]:
        return [record.late for record in self.records]


@given(data=st.data(), sparing=st.booleans(), unit=st.sampled_from([1e-3, 0.1, 60.0]))
def test_in_an_undisturbed_run_nobody_is_late(
    data: st.DataObject, sparing: bool, unit: float
) -> None:
    code = data.draw(st.sampled_from([CODE, FractionalRepetition(6, 2), CyclicRepetition(5, 2)]))
    cluster = Cluster(code, sparing=sparing)
    times = st.lists(st.floats(1.0, 1.4), min_size=code.n_workers, max_size=code.n_workers)
    for takes in data.draw(st.lists(times, min_size=1, max_size=40)):
        record = cluster.run([unit * one for one in takes])
        answered = np.isfinite(record.arrived_at) & (record.arrived_at <= record.seconds)
        assert set(record.not_needed) == set(np.flatnonzero(~answered).tolist())
    assert not any(cluster.late())


@sparing_or_not
@pytest.mark.parametrize("unit", [1e-3, 1.0])
def test_a_replica_that_is_always_a_little_slower_than_its_twin_is_never_late(
    sparing: bool, unit: float
) -> None:
    cluster = Cluster(sparing=sparing)
    for _ in range(200):
        record = cluster.run([unit, 1.1 * unit, unit, 1.1 * unit])
        assert record.not_needed in ((1, 3), ())
    assert not any(cluster.late())


@pytest.mark.parametrize("unit", [0.007, 1.0])
@pytest.mark.parametrize("since", [0, 30])
@pytest.mark.parametrize("role", [0, 1])
def test_a_frozen_worker_is_late_in_every_round_after_a_few(
    role: int, since: int, unit: float
) -> None:
    cluster = Cluster()
    for number in range(150):
        takes = [unit, 1.1 * unit, unit, 1.1 * unit]
        takes[role] = FROZEN if number >= since else takes[role]
        cluster.run(takes)
    assert not any(cluster.late()[:since])
    few = 12 if unit < 0.01 else 8  # 50 ms at least
    assert set(cluster.late()[since + few :]) == {(role,)}
    full_speed = [record.seconds for record in cluster.records[since + few :]]
    assert np.median(full_speed) < 1.2 * unit


def test_a_frozen_worker_that_is_asked_in_every_round_is_late_soon() -> None:
    """It never has a ``w`` for longer than a round lasts; but rounds are not all equally long."""
    rng = np.random.default_rng(0)
    cluster = Cluster(sparing=False)
    for _ in range(60):
        cluster.run([FROZEN, *rng.uniform(1.0, 2.0, 3)])
    late = [0 in record.late for record in cluster.records]
    assert not any(late[: IN_A_ROW - 1])
    assert all(late[20:])
    assert {role for found in cluster.late() for role in found} == {0}


def test_who_is_late_is_so_until_it_answers() -> None:
    cluster = Cluster()
    for _ in range(10):
        cluster.run([1.0, FROZEN, 1.0, 1.1])
    assert cluster.late()[-1] == (1,)
    while len(cluster.records) < 40:
        cluster.run([1.0, 1.1, 1.0, 1.1])
    late = [1 in record.late for record in cluster.records]
    woken = late.index(False, 10)
    assert woken <= 18  # it is asked again by the 16th round
    assert not any(late[woken:])


def test_in_a_long_round_those_are_late_who_are_silent_all_the_while() -> None:
    cluster = Cluster()
    for _ in range(5):
        cluster.run([1.0, 1.1, 1.0, 1.1])
    record = cluster.run([10.0, 30.0, 1.0, 1.1])  # 1 gets w after 0, and is slow, too
    assert record.seconds == pytest.approx(10.0)
    assert (record.late, record.not_needed) == ((1,), (3,))  # of 3's sum 2 has sent it
    assert cluster.run([1.0, 1.1, 1.0, 1.1]).late == (1,)


def test_the_first_round_in_which_connections_open_makes_nobody_late() -> None:
    cluster = Cluster()
    assert cluster.run([9.0, 9.9, 0.001, 0.001]).late == ()
    assert not any(cluster.run([0.001, 0.001, 0.001, 0.001]).late for _ in range(20))


@sparing_or_not
def test_a_machine_that_stands_still_makes_nobody_late(sparing: bool) -> None:
    cluster = Cluster(sparing=sparing)
    for number in range(40):
        still = 50.0 if number % 7 == 6 else 0.0
        cluster.run([still + one for one in (1.0, 1.1, 1.0, 1.1)])
    assert not any(cluster.late())


def test_milliseconds_make_nobody_late() -> None:
    cluster = Cluster(sparing=False)
    cluster.run([0.001, 0.001, 0.001, 0.001])
    assert cluster.run([0.05, 0.06, 0.001, 0.001]).late == ()
    assert cluster.run([0.06, 0.07, 0.001, 0.001]).late == (1,)


def test_when_time_is_up_those_are_late_whose_messages_are_missing() -> None:
    cluster = Cluster(sparing=False)
    record = cluster.run([FROZEN, 9.0, 1.0, 1.1], wait=Deadline(2.0))
    assert (record.late, record.exact) == ((0, 1), False)
    record = cluster.run([1.0, 1.1, 1.0, 1.1], wait=Deadline(2.0))
    assert (record.late, record.not_needed) == ((), (1, 3))


def test_a_role_that_went_elsewhere_is_not_late_for_what_its_old_worker_did() -> None:
    cluster = Cluster()
    for _ in range(10):
        record = cluster.run([1.0, FROZEN, 1.0, 1.1])
    assert record.late == (1,)
    record = cluster.run([1.0, FROZEN, 1.0, 1.1], Relocated(1, "elsewhere"))
    assert (record.relocated, record.lost, record.restored, record.late) == ((1,), (), (), ())


def test_a_role_on_a_new_worker_is_not_late_for_what_the_old_one_did() -> None:
    cluster = Cluster()
    for _ in range(10):
        cluster.run([1.0, FROZEN, 1.0, 1.1])
    assert cluster.run([1.0, FROZEN, 1.0, 1.1], Lost(1, "gone")).lost == (1,)
    record = cluster.run([1.0, 1.1, 1.0, 1.1], Lost(1, "gone"), Ready(1))
    assert (record.restored, record.late) == ((1,), ())
    assert not any(cluster.run([1.0, 1.1, 1.0, 1.1]).late for _ in range(20))


def test_of_several_messages_the_one_that_does_not_come_is_late() -> None:
    code = OwnThenNext(3)
    lateness = Lateness(code)

    def run(number: int, *messages: int) -> set[int]:
        round_ = Round(number, code)
        round_.begin([], number * 1.0)
        for message in messages:
            (worker,) = code.senders(message)
            round_.handle(Arrived(number, worker, message, np.zeros(2)), number + 0.1)
        found = lateness.end(round_, dict.fromkeys((0, 1, 2) if number == 0 else (0, 2), number))
        last[number] = round_
        return found

    last: dict[int, Round] = {}
    assert run(0, 0, 2, 4) == set()  # each worker's own; the second ones are not needed
    late = Arrived(0, 2, 5, np.zeros(2))
    last[0].handle(late, 0.3)
    lateness.heard(last[0], 2, 0.3)
    # 1 has had the first w for three more rounds, and sent one of two messages
    assert [run(number, 0, 1, 4) for number in (1, 2, 3)] == [set(), set(), {1}]
