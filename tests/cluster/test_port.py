"""The port of rounds to a cluster on a scripted clock: who is there, and what becomes of rounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from code_lists import FEW
from dask_gradcode.codes import FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.rounds import (
    Balancing,
    Engine,
    Event,
    Everybody,
    Heard,
    Hedging,
    InsufficientWorkersError,
    Lost,
    Policy,
    Ready,
    Relocated,
    Silent,
    Unplaced,
)
from worlds import FROZEN_AFTER, Fault, Watched, World, sums

RECOVER, ANSWER = 20.0, 100.0


@pytest.fixture(autouse=True)
def short_times() -> Iterator[None]:
    with dask.config.set({"gradcode.timeouts.recover": RECOVER, "gradcode.timeouts.round": ANSWER}):
        yield


def listen(world: World, until: float, name: str = "stream") -> list[tuple[float, Event]]:
    """Return what a port tells until some time, and when, if nobody is asked for anything."""
    port, told = world.port(name), list[tuple[float, Event]]()
    told += ((0.0, event) for event in port.begin(0, np.zeros(2), 1))
    while world.clock < until:
        told += ((world.clock, event) for event in port.events(until))
    return told


def test_who_dies_is_lost_once_and_ready_again_once_placed_anew() -> None:
    for sides in ((0.0, 3.0), (3.0, 0.0), (3.0, 3.0)):  # the connection or the roles tell first
        world = World(Uncoded(2))
        world.suffer(Fault(1.0, "dies", 1, lasts=4.0, told=sides))
        told = listen(world, 20.0)
        assert [type(event) for _, event in told[:1] + told[-1:]] == [Lost, Ready]
        assert {event.role for _, event in told} == {1}
        assert told[0][0] == pytest.approx(1.0, abs=1.0)
        assert told[-1][0] == pytest.approx(1.0 + sides[1] + 4.0, abs=0.2)
        lost = [event for _, event in told if isinstance(event, Lost)]
        ready = [event for _, event in told if isinstance(event, Ready)]
        assert len(lost) == len(ready)


def test_a_connection_that_ends_is_opened_again_when_a_death_would_be_known() -> None:
    world = World(Uncoded(2))
    world.suffer(Fault(1.0, "cut", 0))
    (lost_at, lost), (ready_at, ready) = listen(world, 10.0)
    assert (lost_at, lost) == (1.0, Lost(0, "its connection has ended"))
    assert ready == Ready(0)
    assert ready_at == pytest.approx(2.0, abs=0.11)
    assert ready_at >= 2.0


def test_who_is_not_placed_yet_is_told_of_and_ready_for_the_first_time() -> None:
    world = World(Uncoded(3), lost={2: "it is being placed"}, unplaced={2})
    world.after(3.0, lambda: world.place(2))
    told = listen(world, 10.0)
    assert told[0] == (0.0, Unplaced(2, "it is being placed"))
    assert told[1:] == [(pytest.approx(3.0, abs=0.11), Ready(2, again=False))]


def test_a_role_that_goes_elsewhere_does_so_between_rounds_once_it_is_connected() -> None:
    world = World(FractionalRepetition(2, 1))
    port = world.port()
    assert not port.begin(0, np.zeros(2), 1)
    before = world.workers[0]

    def play(until: float) -> None:
        while world.clock < until:
            assert not port.events(until)

    def attached() -> int:
        key: int = world.transport.attached[0].worker.key
        return key

    world.move(0)
    play(0.2)
    assert not port.begin(1, np.zeros(2), 1)
    assert attached() == before.key  # the connection is not open yet
    play(3.0)
    assert attached() == before.key  # nor is this between rounds
    assert port.begin(2, np.zeros(2), 1) == [Relocated(0, world.workers[0].address)]
    assert attached() == world.workers[0].key
    assert not port.begin(3, np.zeros(2), 1)


def test_a_role_that_has_gone_elsewhere_is_there_when_its_old_worker_dies_in_a_round() -> None:
    world = World(FractionalRepetition(2, 1))
    port, told = world.port(), list[Event]()
    assert not port.begin(0, np.zeros(2), 1)
    before = world.workers[0]
    world.after(1.0, lambda: world.move(0))

    def die() -> None:
        before.is_alive = False
        world.former.clear()
        world.transport.end(0, before.key)

    world.after(2.0, die)
    while world.clock < 5.0:
        told += port.events(5.0)
    assert [type(event) for event in told] == [Lost, Ready]
    assert world.transport.attached[0].worker is world.workers[0]


def test_who_is_frozen_is_silent_until_it_is_heard() -> None:
    world = World(Uncoded(2))
    world.suffer(Fault(1.0, "freezes", 1, lasts=15.0))
    told = listen(world, 30.0)
    assert {event.role for _, event in told} == {1}
    times = [when for when, event in told if isinstance(event, Silent)]
    assert 1.0 + FROZEN_AFTER < times[0] < 1.0 + FROZEN_AFTER + 1.0
    assert np.diff(times).max() < 0.6
    assert not any(event.may_be_busy for _, event in told if isinstance(event, Silent))
    heard = [(when, event) for when, event in told if isinstance(event, Heard)]
    assert heard == [(pytest.approx(16.0, abs=0.6), Heard(1))]


def test_who_may_run_a_users_function_may_be_busy() -> None:
    world = World(Uncoded(2), busy_since=0.0)
    world.suffer(Fault(1.0, "freezes", 1, lasts=15.0))
    silent = [event for _, event in listen(world, 30.0) if isinstance(event, Silent)]
    assert silent
    assert all(event.may_be_busy for event in silent)


def test_looks_are_rare_while_all_are_there_and_frequent_while_one_is_missing() -> None:
    world = World(Uncoded(2))
    looks: list[float] = []
    world.tend = lambda: looks.append(world.clock)  # type: ignore[method-assign]
    world.suffer(Fault(10.0, "dies", 1, lasts=math.inf))
    listen(world, 20.0)
    before, after = [t for t in looks if t < 10.0], [t for t in looks if t > 10.5]
    assert 18 <= len(before) <= 24
    assert 90 <= len(after) <= 120


def test_after_an_interrupt_another_transport_is_opened_and_the_old_one_is_closed() -> None:
    world = World(FractionalRepetition(4, 1))
    port = world.port()
    engine = Engine(world.code, port)
    world.suffer(Fault(0.01, "interrupt", 0))
    with pytest.raises(KeyboardInterrupt):
        engine.run(np.zeros(2))
    port.interrupted()
    round_ = engine.run(np.zeros(2))
    assert [transport.is_closed for transport in world.transports] == [True, False]
    assert_allclose(round_.result(), sums(world.code, round_.number).sum(axis=0))


ROLES = st.integers(0, 4)
TIMES = st.floats(0.0, 40.0)
LASTS = st.one_of(st.floats(0.1, 15.0), st.just(math.inf))
WHAT = st.sampled_from(["dies", "dies", "cut", "freezes", "fails", "interrupt"])
FAULTS = st.builds(Fault, TIMES, WHAT, ROLES, LASTS, st.tuples(*[st.floats(0.0, 3.0)] * 2))
POLICIES = [Everybody(), Hedging(), Balancing()]


@given(
    code=st.sampled_from(FEW),
    policy=st.sampled_from(POLICIES),
    faults=st.lists(FAULTS, max_size=8),
    seed=st.integers(0, 2**32),
    busy_since=st.sampled_from([0.0, math.inf]),
    missing=st.booleans(),
    name=st.sampled_from(["stream", "tasks"]),
)
def test_whatever_happens_a_round_ends_with_the_sum_or_with_the_right_error(
    code: GradientCode,
    policy: Policy,
    faults: list[Fault],
    seed: int,
    busy_since: float,
    missing: bool,
    name: str,
) -> None:
    world = World(code, seed, busy_since=busy_since)
    if missing:
        world.lost, world.unplaced = {0: "it is being placed"}, {0}
        world.after(4.0, lambda: world.place(0))
    for fault in faults:
        if fault.role < code.n_workers and (fault.what != "fails" or math.isfinite(fault.lasts)):
            world.suffer(fault)
    run_rounds(world, policy, name, may_fail=any(fault.what == "fails" for fault in faults))


DIVIDED = [code for code in FEW if code.divides or code.shares_sending]


@settings(max_examples=30)
@given(
    code=st.sampled_from(DIVIDED),
    policy=st.sampled_from(POLICIES),
    faults=st.lists(FAULTS, max_size=8),
    seed=st.integers(0, 2**32),
    busy_since=st.sampled_from([0.0, math.inf]),
    name=st.sampled_from(["stream", "tasks"]),
)
def test_whatever_happens_others_do_what_is_left_undone(
    code: GradientCode,
    policy: Policy,
    faults: list[Fault],
    seed: int,
    busy_since: float,
    name: str,
) -> None:
    world = World(code, seed, busy_since=busy_since)
    for fault in faults:
        if fault.role < code.n_workers and fault.what != "fails":
            world.suffer(fault)
    run_rounds(world, policy, name, may_fail=False)


def run_rounds(world: World, policy: Policy, name: str, may_fail: bool) -> None:
    """Run rounds for a minute, each of which ends in time, with the sum or with the right error."""
    code = world.code
    in_time = 2 * code.n_workers * world.slowest + 2 * FROZEN_AFTER
    port = world.port(name)
    engine = Engine(code, port, policy=Watched(policy))
    while world.clock < 60.0:
        began = world.clock
        try:
            round_ = engine.run(np.zeros(2))
        except KeyboardInterrupt:
            port.interrupted()
            continue
        except InsufficientWorkersError:
            assert world.clock >= max(began, world.able_until) + RECOVER
            break
        except TimeoutError:
            assert world.clock >= began + ANSWER
            assert may_fail or world.able_until < world.clock - ANSWER + in_time
            break
        except ZeroDivisionError:
            assert may_fail
            break
        assert may_fail or world.clock < max(began, world.able_since) + in_time
        assert_allclose(round_.result(), sums(code, round_.number).sum(axis=0), atol=1e-7)
        engine.conclude(round_, round_.record(0.0, 0.0))
        world.go_on(world.clock + float(world.draw.choice([0.0, 3.0])))
    with suppress(KeyboardInterrupt):  # once all is quiet, all that are placed are attached
        engine.drain()
        world.go_on(max(world.clock, 60.0))
        end = world.clock + 10.0
        while world.clock < end:
            port.events(end)
        alive = {role for role in world.shards if world.workers[role].is_alive}
        assert world.transport.attached.keys() >= alive
