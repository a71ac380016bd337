"""The simulator against an event queue of its own, closed forms, and the other objectives."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from code_lists import FEW
from dask_gradcode.codes import (
    CyclicRepetition,
    FractionalRepetition,
    GradientCode,
    PartialStragglers,
    Uncoded,
)
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import LBFGS
from dask_gradcode.rounds import Deadline, Everybody, Fastest, InsufficientWorkersError
from dask_gradcode.simulation import SimulatedObjective, simulate
from dask_gradcode.stragglers import (
    Combined,
    ExponentialDelay,
    FixedDelay,
    MarkovSlowdown,
    NeverAnswers,
    ParetoDelay,
    Slowdown,
    StragglerModel,
    TraceDelay,
)
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from helpers import logistic_data

every_code = pytest.mark.parametrize("code", FEW, ids=repr)


def event_queue(
    code: GradientCode, delays: np.ndarray, slowdowns: np.ndarray, work: float
) -> list[float]:
    """Play worker by worker what the simulator computes at once; the time of each round.

    A worker looks for the newest round whenever it is free: after a delay, after each message, and
    at once when a round begins while it computes or idles.
    """
    n_rounds = len(delays)
    share = [len(message.blocks) / code.n_blocks for message in code.messages]
    newest, started, times = 0, 0.0, []
    arrived = np.zeros(len(code.messages), dtype=bool)
    doing: list[tuple[str, int, int]] = [("", -1, 0)] * code.n_workers  # what, round, how far
    ticket = [0] * code.n_workers  # an event with an older ticket has been given up
    queue: list[tuple[float, int, int]] = []

    def begin(worker: int, now: float) -> None:
        doing[worker] = "delay", newest, 0
        ticket[worker] += 1
        heapq.heappush(queue, (now + delays[newest][worker], worker, ticket[worker]))

    def compute(worker: int, place: int, now: float) -> None:
        doing[worker] = "compute", newest, place
        if place < len(code.first(worker)):
            ticket[worker] += 1
            took = work * slowdowns[newest][worker] * share[code.first(worker)[place]]
            heapq.heappush(queue, (now + took, worker, ticket[worker]))
        else:
            doing[worker] = "idle", newest, 0

    for worker in range(code.n_workers):
        begin(worker, 0.0)
    while len(times) < n_rounds:
        now, worker, number = heapq.heappop(queue)
        if number != ticket[worker]:
            continue
        what, round_, place = doing[worker]
        if what == "delay":
            if round_ == newest:
                compute(worker, 0, now)
            else:
                begin(worker, now)
            continue
        arrived[code.first(worker)[place]] = True
        if not code.can_decode(arrived):
            compute(worker, place + 1, now)
            continue
        times.append(now - started)
        newest, started, arrived[:] = newest + 1, now, False
        if newest < n_rounds:
            for other in range(code.n_workers):
                if doing[other][0] != "delay":
                    begin(other, now)
    return times


@pytest.mark.parametrize("code", [code for code in FEW if not code.shares_sending], ids=repr)
@given(data=st.data())
def test_rounds_take_as_long_as_worker_by_worker(code: GradientCode, data: st.DataObject) -> None:
    seconds = st.one_of(st.just(0.0), st.floats(0.001, 9.0))
    row = st.lists(seconds, min_size=code.n_workers, max_size=code.n_workers)
    delays = np.array(data.draw(st.lists(row, min_size=1, max_size=6)))
    slow = data.draw(
        st.sampled_from(
            [
                StragglerModel(),
                Slowdown(8.0, probability=0.4),
                Slowdown(1.5, n_random=1),
                MarkovSlowdown(3.0, p_begin=0.3, p_end=0.4),
            ]
        )
    )
    n = len(delays)
    both = Combined([TraceDelay(delays), slow])
    history = simulate(code, both, plan=Everybody(), n_rounds=n, work=0.7)
    slowdowns = np.array([slow.slowdowns(number, code.n_workers) for number in range(n)])
    expected = event_queue(code, delays, slowdowns, 0.7)
    assert_allclose(history.columns["seconds"], expected, atol=1e-9)


def test_a_slow_worker_takes_longer_over_each_of_its_messages() -> None:
    code = PartialStragglers(FractionalRepetition(4, 1), 2)
    slow = Slowdown(3.0, workers=[1])
    (record,) = simulate(code, slow, plan=Everybody(), n_rounds=1, work=12.0, overhead=0.5)
    # of 12 blocks: 2 private ones, then 2 coded ones; the overhead of a message is nobody's work
    private = {answer.role: answer.seconds for answer in record.answers if answer.message < 4}
    assert private == {0: 2.5, 1: 6.5, 2: 2.5, 3: 2.5}
    assert record.seconds == 6.5
    group = Slowdown(3.0, workers=[0, 1])  # so that a second message of theirs is waited for
    (record,) = simulate(code, group, plan=Everybody(), n_rounds=1, work=12.0, overhead=0.5)
    assert record.seconds == 12.5


def test_a_worker_is_as_slow_as_the_round_that_it_computes_for() -> None:
    class Once(StragglerModel):
        def slowdowns(self, round: int, n_workers: int) -> Vector:
            return np.array([10.0 if round == 0 else 1.0, 1.0])

    history = simulate(FractionalRepetition(2, 1), Once(), plan=Everybody(), n_rounds=2, work=1.0)
    # in the second round both begin at once: what is left of the first one is given up
    assert history.columns["seconds"] == [1.0, 1.0]
    assert [bool(np.isfinite(record.arrived_at[0])) for record in history] == [False, True]


def test_a_pause_comes_before_slow_computing() -> None:
    late = Combined([FixedDelay(2.0, workers=[0]), Slowdown(8.0, workers=[0, 1])])
    (record,) = simulate(Uncoded(3), late, n_rounds=1, work=3.0)
    assert_allclose(record.arrived_at, [10.0, 8.0, 1.0])


def test_slowness_costs_each_code_what_a_sum_by_hand_says() -> None:
    """n = 6, s = 1: shares of a sixth uncoded, of a third coded, one worker 8 times slower."""
    slow = Slowdown(8.0, workers=[2])
    for code, seconds in (
        (Uncoded(6), 8 / 6),
        (FractionalRepetition(6, 1), 2 / 6),
        (CyclicRepetition(6, 1), 2 / 6),
    ):
        assert_allclose(simulate(code, slow, n_rounds=3).columns["seconds"], seconds)
        assert_allclose(simulate(code, slow, n_rounds=3, work=6.0).columns["seconds"], 6 * seconds)
    drawn = Slowdown(8.0, probability=0.1, seed=3)
    slowest = [drawn.slowdowns(number, 6).max() for number in range(50)]
    uncoded = simulate(Uncoded(6), drawn, n_rounds=50, work=6.0)
    assert_allclose(uncoded.columns["seconds"], slowest)
    pairs = [drawn.slowdowns(number, 6).reshape(3, 2).min(axis=1).max() for number in range(50)]
    fractional = simulate(
        FractionalRepetition(6, 1), drawn, plan=Everybody(), n_rounds=50, work=6.0
    )
    assert_allclose(fractional.columns["seconds"], 2 * np.array(pairs))


def test_the_uncoded_sum_waits_for_the_slowest() -> None:
    model = ParetoDelay(1.5, 0.1, seed=3)
    history = simulate(Uncoded(50), model, n_rounds=200, work=2.0, overhead=0.25)
    slowest = [model.delays(number, 50).max() for number in range(200)]
    assert_allclose(history.columns["seconds"], np.array(slowest) + 2.0 / 50 + 0.25)


def test_the_fastest_are_waited_for_and_the_slow_carry_over() -> None:
    trace = TraceDelay([[0.0, 0.0, 5.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    history = simulate(Uncoded(3), trace, wait=Fastest(2), n_rounds=3, work=3.0)
    # round 1 (from 1.0): worker 2 is late until 5.0, worker 1 until 4.0
    # round 2 (from 5.0): nobody is late, and worker 2 has just woken
    assert history.columns["seconds"] == [1.0, 4.0, 1.0]
    assert [record.exact for record in history] == [False] * 3
    assert [record.late for record in history] == [(), (2,), (2,)]  # until it has answered
    assert history[0].not_needed == (2,)
    assert "approximate" in repr(history)


def test_a_deadline_ends_a_round_on_the_virtual_clock() -> None:
    late = FixedDelay(10.0, workers=[0])
    history = simulate(Uncoded(2), late, wait=Deadline(4.0), n_rounds=2, work=1.0)
    assert history.columns["seconds"] == [4.0, 4.0]
    assert history.columns["n_used"] == [1, 1]
    assert [record.late for record in history] == [(0,), (0,)]
    all_late = simulate(Uncoded(2), FixedDelay(10.0), wait=Deadline(4.0), n_rounds=1, work=1.0)
    assert all_late.columns["seconds"] == [10.5]  # at least one message is waited for


@every_code
def test_the_same_run_again_is_the_same_run(code: GradientCode) -> None:
    runs = [simulate(code, ExponentialDelay(0.5, seed=7), n_rounds=30) for _ in range(2)]
    assert runs[0].columns["seconds"] == runs[1].columns["seconds"]
    for first, second in zip(*runs, strict=True):
        assert_array_equal(first.arrived_at, second.arrived_at)


def test_workers_may_differ_in_speed() -> None:
    history = simulate(Uncoded(2), FixedDelay(0.0), n_rounds=1, work=[2.0, 8.0])
    assert_allclose(history[0].arrived_at, [1.0, 4.0])


def test_who_never_answers_is_done_without_or_named() -> None:
    silent = NeverAnswers(workers=[1])
    assert simulate(CyclicRepetition(5, 1), silent, n_rounds=3).columns["n_used"] == [4] * 3
    fastest = simulate(Uncoded(3), silent, wait=Fastest(3), n_rounds=2, work=3.0)
    assert fastest.columns["seconds"] == [1.0, 1.0]  # all that can come has come
    for code in (Uncoded(3), PartialStragglers(FractionalRepetition(4, 1), 2)):
        with pytest.raises(InsufficientWorkersError, match=r"worker\(s\) 1 never answer") as caught:
            simulate(code, silent)
        assert f"tolerates {code.tolerance}" in str(caught.value)


def test_a_worker_that_fell_silent_stays_silent() -> None:
    trace = TraceDelay([[0.0, np.inf, 0.0, 0.0]] + [[0.0] * 4] * 3)
    history = simulate(FractionalRepetition(4, 1), trace, n_rounds=4)
    assert all(np.isnan(record.arrived_at[1]) for record in history)


@every_code
def test_the_objective_computes_the_sum_and_tells_virtual_time(code: GradientCode) -> None:
    X, y = logistic_data(120, 3)
    borders = np.linspace(0, 120, code.n_blocks + 1).astype(int)
    blocks = {
        i: Block(X[start:stop], y[start:stop].astype(float))
        for i, (start, stop) in enumerate(pairwise(borders.tolist()))
    }
    model = ExponentialDelay(1.0)
    simulated = SimulatedObjective(code, blocks, Logistic(), model, work=0.5)

    def coef(objective: SimulatedObjective | InProcessObjective) -> np.ndarray:
        penalised = Penalised(objective, scale=1 / 120, alpha=1 / 120, n_penalised=3)
        return LBFGS().minimize(penalised, np.zeros(3), tol=1e-9, max_iter=200).w

    here = coef(InProcessObjective(code, blocks, Logistic()))
    there = coef(simulated)
    assert_allclose(there, here, rtol=1e-7)
    approximate = ("Cyclic", "OwnThenNext")  # least squares
    if not (code.mixes or any(kind in repr(code) for kind in approximate)):
        assert_array_equal(there, here)
    again = SimulatedObjective(code, blocks, Logistic(), model, work=0.5)
    seconds = [again(np.zeros(3)).record.seconds for _ in range(5)]
    rounds = simulate(code, model, work=0.5, n_rounds=5)
    assert seconds == rounds.columns["seconds"]
    assert again.seconds == pytest.approx(sum(seconds))


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: simulate(Uncoded(2), FixedDelay(1.0), n_rounds=0), "n_rounds must be .* got 0"),
    (lambda: simulate(Uncoded(2), FixedDelay(1.0), n_rounds=1.5), "got 1.5"),  # type: ignore[arg-type]
    (lambda: simulate(Uncoded(2), FixedDelay(1.0), work=0.0), "work must be seconds > 0"),
    (lambda: simulate(Uncoded(2), FixedDelay(1.0), work=[1.0] * 3), "each of the 2 workers"),
    (lambda: simulate(Uncoded(2), FixedDelay(1.0), overhead=-1.0), "overhead must be seconds"),
    (lambda: simulate(Uncoded(2), FixedDelay(1.0), wait=Fastest(3)), "between 1 and the code's 2"),
    (lambda: simulate(Uncoded(2), FixedDelay(1.0, workers=[2])), "none of 0 to 1"),
]


@pytest.mark.parametrize(("make", "text"), BAD)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("model", [0.5, None, FixedDelay])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(TypeError, match="straggler_model must be a StragglerModel, got"):
        simulate(Uncoded(2), model)


@pytest.mark.parametrize("wait", ["remember", Fastest, 3, 0], ids=repr)
def test_what_is_no_wait_rule_is_refused(wait: Any) -> None:
    with pytest.raises(TypeError, match=r"wait must be a WaitRule, such as .*, got"):
        simulate(Uncoded(2), FixedDelay(1.0), wait=wait)


def test_coded_rounds_beat_uncoded_ones_under_a_heavy_tail() -> None:
    """The paper's point, at a size no machine here could run."""
    model = ParetoDelay(1.5, 0.01)
    seconds = {
        type(code).__name__: np.mean(
            simulate(code, model, n_rounds=15, work=1.0).columns["seconds"]
        )
        for code in (Uncoded(1000), CyclicRepetition(1000, 3), FractionalRepetition(1000, 3))
    }
    assert seconds["FractionalRepetition"] < seconds["CyclicRepetition"] < seconds["Uncoded"]
