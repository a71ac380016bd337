"""Who computes how much of a round: on the virtual clock, and on paper."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition, GradientCode
from dask_gradcode.rounds import Balancing, Hedging
from dask_gradcode.rounds.plans.assignment import shortest
from dask_gradcode.rounds.plans.balancing import LOOK_EVERY, WORTH_IT
from dask_gradcode.rounds.plans.speeds import REMEMBERED, Speeds
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import StragglerModel
from dask_gradcode.typing import Vector

SPEEDS = (1.0, 1.0, 1.0, 2.0, 2.0, 4.0)
SPREADS: list[int | str] = [1, 2, 4, 8, "group"]
every_spread = pytest.mark.parametrize("spread", SPREADS)


@dataclass(frozen=True)
class Changing(StragglerModel):
    """Workers as slow as they are until a round, then as slow as after it."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    at: int = 10
    jitter: float = 0.0

    def slowdowns(self, round: int, n_workers: int) -> Vector:
        noise = np.random.default_rng(round).random(n_workers)
        paces = np.array(self.before if round < self.at else self.after)
        return np.asarray(paces * (1 + self.jitter * noise))


@dataclass(frozen=True)
class Freezing(StragglerModel):
    """One worker that stands still from the beginning of a round for some seconds."""

    worker: int
    at: int
    seconds: float

    def delays(self, round: int, n_workers: int) -> Vector:
        delays = np.zeros(n_workers)
        delays[self.worker] = self.seconds if round == self.at else 0.0
        return delays


def shortest_round(code: GradientCode, paces: tuple[float, ...]) -> float:
    """Seconds of the best assignment of whole blocks to those who hold them."""
    owners = [role for role in range(code.n_workers) for _ in range(code.n_blocks // 6)]
    return shortest(code.holders, owners, paces)[0]


def ratios(code: GradientCode, model: Changing, n_rounds: int) -> list[float]:
    """How many times as long rounds take as they have to."""
    history = simulate(code, model, plan=Balancing(), n_rounds=n_rounds, work=float(code.n_blocks))
    best = [shortest_round(code, paces) for paces in (model.before, model.after)]
    seconds = history.columns["seconds"]
    return [took / best[number >= model.at] for number, took in enumerate(seconds)]


@every_spread
@pytest.mark.parametrize("jitter", [0.0, 0.05])
def test_uneven_workers_share_the_work_as_well_as_can_be_after_ten_rounds(
    spread: int | str, jitter: float
) -> None:
    code = DeclusteredRepetition(6, 1, spread)
    for speeds in [*{*permutations(SPEEDS)}][::12]:
        paces = tuple(4.0 / speed for speed in speeds)
        found = ratios(code, Changing(paces, paces, jitter=jitter), 20)
        assert max(found[10:]) <= 1.05 * (1 + jitter), speeds


@every_spread
def test_a_change_of_speeds_is_followed_within_ten_rounds(spread: int | str) -> None:
    code = DeclusteredRepetition(6, 1, spread)
    uneven, even = tuple(4.0 / speed for speed in SPEEDS), (2.0,) * 6
    other = tuple(uneven[i] for i in (5, 4, 2, 1, 0, 3))
    for before, after in ((uneven, other), (other, uneven), (uneven, even), (even, uneven)):
        found = ratios(code, Changing(before, after), 25)
        assert max(found[20:]) <= 1.05, (before, after)


@every_spread
@pytest.mark.parametrize("at", [0, 5])
@pytest.mark.parametrize("seconds", [9.7, 60.3])
def test_who_was_frozen_and_wakes_is_used_again_within_ten_rounds(
    spread: int | str, at: int, seconds: float
) -> None:
    code = DeclusteredRepetition(6, 1, spread)
    history = simulate(code, Freezing(2, at, seconds), plan=Balancing(), n_rounds=80, work=6.0)
    ends = np.cumsum(history.columns["seconds"])
    wakes = seconds + (ends[at - 1] if at else 0.0)
    asleep = [record for record, end in zip(history, ends, strict=True) if end < wakes][at:]
    assert not any(record.used[2] for record in asleep)
    awake = [record for record, end in zip(history, ends, strict=True) if end > wakes]
    assert any(record.used[2] for record in awake[:10])
    assert_allclose([record.seconds for record in awake[11:]], 1.0)


def test_who_is_frozen_is_asked_for_a_block_now_and_then_that_others_compute_too() -> None:
    code = DeclusteredRepetition(6, 1)
    history = simulate(code, Freezing(2, 0, 1e6), plan=Balancing(), n_rounds=30, work=6.0)
    asked = [record.round for record in history if 2 not in record.spared]
    assert asked[:2] == [0, 1]  # one slow round says little
    assert asked[2:] == [number for number in range(30) if (number + 1) % LOOK_EVERY == 0]
    seconds = history.columns["seconds"][5:]
    assert_allclose(seconds, shortest_round(code, (1.0, 1.0, inf, 1.0, 1.0, 1.0)) / code.n_leaves)


@dataclass(frozen=True)
class InTurn(StragglerModel):
    """In every round another worker is all but frozen, as it is drawn."""

    seed: int = 0

    def slowdowns(self, round: int, n_workers: int) -> np.ndarray:
        slow = np.ones(n_workers)
        slow[np.random.default_rng([self.seed, round]).integers(n_workers)] = 1e4
        return slow


@pytest.mark.parametrize("spread", [4, 8])
@pytest.mark.parametrize("seed", range(5))
def test_nobody_waits_for_who_was_frozen_before_while_another_one_is(
    spread: int, seed: int
) -> None:
    # work that was moved from one of them to the other is moved on as soon as somebody is free
    code = DeclusteredRepetition(6, 1, spread)
    history = simulate(code, InTurn(seed), plan=Balancing(), n_rounds=60, work=6.0)
    best = shortest_round(code, (inf, 1.0, 1.0, 1.0, 1.0, 1.0)) / code.n_leaves
    assert max(history.columns["seconds"]) < 2.0 * best
    assert np.median(history.columns["seconds"]) < 1.2 * best


def test_among_equals_nothing_is_moved() -> None:
    code = DeclusteredRepetition(6, 1)
    paces = (1.0, 1.0, 1.02, 1.0, 1.0, 1.0)  # not worth it
    history = simulate(code, Changing(paces, paces), plan=Balancing(), n_rounds=10, work=6.0)
    assert WORTH_IT > 1.02
    for record in history:
        assert [answer.message for answer in record.answers if answer.used] == [
            code.first(role)[0] for role in (0, 1, 3, 4, 5, 2)
        ]


def test_what_a_code_does_not_divide_is_hedged() -> None:
    code = CyclicRepetition(4, 1)
    assert type(Balancing().start(code)) is type(Hedging().start(code))


# ---- on paper


@st.composite
def jobs(draw: st.DrawFn, most: int) -> tuple[list[list[int]], list[int], list[float]]:
    """Blocks with their holders and owners, and workers with their paces."""
    n = draw(st.integers(1, 4))
    some = st.lists(st.integers(0, n - 1), min_size=1, max_size=n, unique=True)
    holders = draw(st.lists(some, min_size=1, max_size=most))
    owners = [draw(st.sampled_from(able)) for able in holders]
    pace = st.one_of(st.sampled_from([1.0, 2.0, 3.0, inf]), st.floats(0.1, 10.0))
    return holders, owners, draw(st.lists(pace, min_size=n, max_size=n))


def lasts(workers: list[int], paces: list[float]) -> float:
    return max(workers.count(i) * paces[i] for i in {*workers})


@given(job=jobs(most=6))
def test_no_division_of_blocks_is_shorter(
    job: tuple[list[list[int]], list[int], list[float]],
) -> None:
    holders, owners, paces = job
    seconds, workers = shortest(holders, owners, paces)
    assert seconds == pytest.approx(min(lasts([*who], paces) for who in product(*holders)))
    assert all(worker in able for worker, able in zip(workers, holders, strict=True))
    assert lasts(workers, paces) == pytest.approx(seconds)
    if lasts(owners, paces) <= seconds:
        assert workers == owners


@given(job=jobs(most=40))
def test_a_division_of_blocks_is_as_short_as_a_flow_says(
    job: tuple[list[list[int]], list[int], list[float]],
) -> None:
    holders, owners, paces = job
    seconds, workers = shortest(holders, owners, paces)
    if seconds == inf:
        assert any(all(paces[i] == inf for i in able) for able in holders)
        assert workers == owners
        return
    assert lasts(workers, paces) == pytest.approx(seconds)
    assert all(worker in able for worker, able in zip(workers, holders, strict=True))
    assert can_be_done(holders, paces, seconds * (1 + 1e-9))
    assert not can_be_done(holders, paces, seconds * (1 - 1e-6))


def can_be_done(holders: list[list[int]], paces: list[float], seconds: float) -> bool:
    """Say whether all blocks can flow through workers that have room for so many in some time."""
    n_blocks, n = len(holders), len(paces)
    capacity = np.zeros((n_blocks + n + 2, n_blocks + n + 2), dtype=np.int32)
    source, sink = n_blocks + n, n_blocks + n + 1
    for block, able in enumerate(holders):
        capacity[source, block] = 1
        capacity[block, [n_blocks + worker for worker in able]] = 1
    for worker, pace in enumerate(paces):
        capacity[n_blocks + worker, sink] = int(seconds / pace) if pace < inf else 0
    return bool(maximum_flow(csr_array(capacity), source, sink).flow_value == n_blocks)


# ---- speeds


def asked(n_roles: int = 2, n_blocks: int = 4) -> Speeds:
    speeds = Speeds(n_roles)
    speeds.begin()
    for role in range(n_roles):
        speeds.ask(role, n_blocks, now=10.0)
    return speeds


def test_of_nobody_anything_is_known_at_first() -> None:
    speeds = asked()
    assert (speeds.pace(0), speeds.usual(), speeds.free_at(0, 11.0)) == (0.0, 0.0, 11.0)


def test_who_has_not_shown_its_speed_is_taken_for_as_fast_as_the_others() -> None:
    speeds = asked(4)
    for role, n_seconds in ((0, 4.0), (1, 8.0), (2, 20.0)):
        speeds.done(role, 4)
        speeds.rest(role, now=10.0 + n_seconds)
    assert [speeds.pace(role) for role in range(4)] == [1.0, 2.0, 5.0, 2.0]
    assert speeds.free_at(3, now=11.0) == 10.0 + 4 * 2.0
    assert speeds.free_at(0, now=15.0) == 15.0


def test_who_yields_is_half_through_the_block_that_it_is_at() -> None:
    speeds = asked()
    speeds.done(0, 2)
    speeds.pause(0, now=15.0)
    assert speeds.pace(0) == 2.0
    speeds.ask(0, 1, now=15.0)
    speeds.done(0, 1)
    speeds.rest(0, now=15.1)  # how long all of that block took is not known
    assert speeds.pace(0) == 2.0


def test_of_who_is_busy_at_the_end_it_is_known_that_it_is_no_faster() -> None:
    speeds = asked(3)
    speeds.done(0, 4)
    speeds.rest(0, now=14.0)
    speeds.done(1, 3)
    speeds.end(now=18.0)
    assert [speeds.pace(role) for role in range(3)] == [1.0, 2.0, 2.0]
    for _ in range(REMEMBERED):
        speeds.begin()
        speeds.ask(1, 4, now=20.0)
        speeds.end(now=22.0)  # which says less than what is known
    assert speeds.pace(1) == 2.0


def test_a_speed_is_the_median_of_the_last_rounds() -> None:
    speeds = Speeds(1)
    paces = [1.0, 1.5, 1.2, 1.4, 1.1, 1.3, 1.25]
    for pace in paces:
        speeds.begin()
        speeds.ask(0, 2, now=0.0)
        speeds.done(0, 2)
        speeds.rest(0, now=2 * pace)
        speeds.end(now=10.0)
    assert speeds.pace(0) == pytest.approx(np.median(paces[-REMEMBERED:]))


def test_who_has_woken_is_known_by_what_it_does_since() -> None:
    speeds = Speeds(1)
    for pace in (8.0, 8.0, 8.0, 3.0):
        speeds.begin()
        speeds.ask(0, 1, now=0.0)
        speeds.done(0, 1)
        speeds.rest(0, now=pace)
        speeds.end(now=10.0)
    assert speeds.pace(0) == 3.0


def test_what_is_given_up_says_nothing_of_a_speed() -> None:
    speeds = asked()
    speeds.stop(0)
    speeds.end(now=99.0)
    assert speeds.pace(0) == speeds.pace(1) == 89.0 / 4  # as the other one, which is busy


def test_a_copy_learns_apart() -> None:
    speeds = asked()
    other = speeds.copy()
    other.done(0, 4)
    other.rest(0, now=12.0)
    other.end(now=12.0)
    assert other.pace(0) == 0.5
    assert speeds.pace(0) == 0.0
    assert not speeds.is_done(0)
