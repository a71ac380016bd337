"""What each straggler model is in particular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from dask_gradcode.stragglers import (
    Combined,
    ExponentialDelay,
    FixedDelay,
    MarkovSlowdown,
    NeverAnswers,
    ParetoDelay,
    RandomDelay,
    ShiftedExponentialDelay,
    Slowdown,
    StragglerModel,
    TraceDelay,
)
from helpers import name_of


def many(model: StragglerModel) -> np.ndarray:
    return np.concatenate([model.delays(number, 100) for number in range(200)])


@pytest.mark.parametrize(
    ("model", "distribution"),
    [
        (ExponentialDelay(0.3), stats.expon(scale=0.3)),
        (ShiftedExponentialDelay(1.0, 0.2), stats.expon(loc=1.0, scale=0.2)),
        (ParetoDelay(1.5, 0.1), stats.pareto(1.5, scale=0.1)),
    ],
    ids=name_of,
)
def test_delays_have_the_distribution_of_their_name(
    model: StragglerModel, distribution: stats.distributions.rv_frozen
) -> None:
    assert stats.kstest(many(model), distribution.cdf).pvalue > 0.01


def test_every_worker_is_chosen_as_often_as_the_others() -> None:
    model = FixedDelay(1.0, n_random=2)
    chosen = np.array([model.delays(number, 5) for number in range(5000)]).sum(axis=0)
    assert_allclose(chosen, 2000, rtol=0.06)


def test_every_worker_is_slow_with_the_probability_that_was_said() -> None:
    model = Slowdown(8.0, probability=0.1, seed=1)
    slow = np.array([model.slowdowns(number, 20) > 1.0 for number in range(5000)])
    assert_allclose(slow.mean(axis=0), 0.1, atol=0.015)
    # independently of one another: as many in a round as a binomial distribution says
    counts = np.bincount(slow.sum(axis=1), minlength=21)
    assert_allclose(counts / 5000, stats.binom(20, 0.1).pmf(np.arange(21)), atol=0.02)
    assert (Slowdown(8.0, probability=0.0).slowdowns(0, 5) == 1.0).all()
    assert (Slowdown(8.0, probability=1.0).slowdowns(0, 5) == 8.0).all()


@pytest.mark.parametrize("chosen", [{"n_random": 2}, {"probability": 0.3}, {"workers": (1, 3)}])
def test_a_delay_and_a_slowdown_of_one_seed_hit_the_same_workers(chosen: Any) -> None:
    both = Combined([FixedDelay(1.0, seed=3, **chosen), Slowdown(8.0, seed=3, **chosen)])
    for number in range(20):
        assert_array_equal(both.delays(number, 6) > 0, both.slowdowns(number, 6) > 1)


def test_combined_delays_add_up_and_slowdowns_multiply() -> None:
    both = Combined(
        [FixedDelay(1.0), FixedDelay(2.0, workers=[1]), Slowdown(3.0), Slowdown(2.0, workers=[0])]
    )
    assert both.delays(0, 2).tolist() == [1.0, 3.0]
    assert both.slowdowns(0, 2).tolist() == [6.0, 3.0]
    assert Combined([]).delays(0, 2).tolist() == [0.0, 0.0]
    assert Combined([]).slowdowns(0, 2).tolist() == [1.0, 1.0]


def played(model: MarkovSlowdown, n_steps: int, n_workers: int) -> np.ndarray:
    """Play a chain forwards, from the same numbers; who is in a burst, step by step."""
    p_long_run = model.p_begin / (model.p_begin + model.p_end)
    burst, steps = np.zeros(n_workers, dtype=bool), []
    for step in range(n_steps):
        u = np.random.default_rng((model.seed, step)).random(n_workers)
        begins = np.where(burst, 1.0 - model.p_end, model.p_begin) if step else p_long_run
        burst = u < begins
        steps.append(burst)
    return np.array(steps)


@given(
    p_begin=st.floats(0.01, 1.0),
    p_end=st.floats(0.01, 1.0),
    seed=st.integers(0, 99),
    rounds_per_step=st.integers(1, 4),
)
def test_bursts_are_those_of_the_chain_played_step_by_step(
    p_begin: float, p_end: float, seed: int, rounds_per_step: int
) -> None:
    model = MarkovSlowdown(2.0, p_begin, p_end, rounds_per_step, seed)
    expected = played(model, 15, 4)
    for number in range(15 * rounds_per_step):
        slow = model.slowdowns(number, 4) > 1.0
        assert_array_equal(slow, expected[number // rounds_per_step])


def test_bursts_are_as_frequent_and_as_long_as_the_source_says() -> None:
    model = MarkovSlowdown()
    slow = np.array([model.slowdowns(number, 200) == 1.103 for number in range(1500)])
    assert slow.mean() == pytest.approx(0.037, rel=0.1)
    begun = (slow[1:] & ~slow[:-1]).sum()
    assert slow.sum() / begun == pytest.approx(3.5, rel=0.1)  # steps of 10 s
    assert slow[0].mean() == pytest.approx(0.037, abs=0.04)  # from the beginning


def test_rounds_workers_and_seeds_differ() -> None:
    drawn = [ExponentialDelay(1.0, seed=s).delays(r, 3) for s in range(3) for r in range(3)]
    assert len(np.unique(drawn)) == 27


def test_a_workers_delay_does_not_depend_on_who_else_is_delayed() -> None:
    everybody = ParetoDelay(1.5, 0.1).delays(4, 6)
    assert_array_equal(ParetoDelay(1.5, 0.1, workers=[2]).delays(4, 6)[2], everybody[2])
    assert_array_equal(ParetoDelay(1.5, 0.1).delays(4, 9)[:6], everybody)


def test_a_trace_is_replayed_and_begins_anew() -> None:
    table = np.array([[0.0, 1.0, 2.0], [np.inf, 0.0, 0.5]])
    trace = TraceDelay(table)
    table[:] = 7.0
    for number in range(5):
        expected = [[0.0, 1.0], [np.inf, 0.0]][number % 2]
        assert_array_equal(trace.delays(number, 2), expected)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: FixedDelay(-1.0), r"'seconds' of FixedDelay .* \[0, inf\)\. Got -1\.0 instead"),
    (lambda: FixedDelay(float("nan")), "Got nan instead"),
    (lambda: FixedDelay(float("inf")), "Got inf instead"),
    (lambda: FixedDelay("1 s"), "Got '1 s' instead"),  # type: ignore[arg-type]
    (lambda: ExponentialDelay(-0.1), "'scale' of ExponentialDelay"),
    (lambda: ShiftedExponentialDelay(-0.1, 1.0), "'shift' of ShiftedExponentialDelay"),
    (lambda: ParetoDelay(0.0, 1.0), r"'shape' of ParetoDelay .* \(0, inf\)"),
    (lambda: FixedDelay(1.0, workers=[-1]), "'workers' of FixedDelay .* Got -1 instead"),
    (lambda: FixedDelay(1.0, workers=[1.5]), "Got 1.5 instead"),  # type: ignore[list-item]
    (lambda: FixedDelay(1.0, n_random=-2), "'n_random' of FixedDelay .* Got -2 instead"),
    (lambda: ParetoDelay(1.5, 1.0, seed=-1), "'seed' of ParetoDelay"),
    (
        lambda: NeverAnswers(workers=[1], n_random=1),
        r"needs at most one of .* got workers=\[1\] and n_random=1\.",
    ),
    (lambda: Slowdown(2.0, n_random=1, probability=0.1), "got n_random=1 and probability=0.1"),
    (lambda: Slowdown(2.0, probability=1.1), r"'probability' of Slowdown .* \[0, 1\]\. Got 1\.1"),
    (lambda: Slowdown(0.5), r"'factor' of Slowdown .* \[1, inf\)\. Got 0\.5 instead"),
    (lambda: Slowdown(float("inf")), "Got inf instead"),
    (lambda: Slowdown(2.0, workers=[4]).slowdowns(0, 4), "names a worker that is none of 0 to 3"),
    (lambda: MarkovSlowdown(0.9), "'factor' of MarkovSlowdown"),
    (lambda: MarkovSlowdown(p_begin=0.0), r"'p_begin' of MarkovSlowdown .* \(0, 1\]\. Got 0\.0"),
    (lambda: MarkovSlowdown(p_end=2), "'p_end' of MarkovSlowdown .* Got 2 instead"),
    (lambda: MarkovSlowdown(rounds_per_step=0), r"'rounds_per_step' .* \[1, inf\), as int"),
    (lambda: MarkovSlowdown(seed=-1), "'seed' of MarkovSlowdown"),
    (lambda: TraceDelay([1.0, 2.0]), r"must have shape \(n_rounds, n_workers\).*Got shape \(2,\)"),
    (lambda: TraceDelay(np.zeros((0, 3))), r"Got shape \(0, 3\)"),
    (lambda: TraceDelay([[0.0], [-1.0]]), r"Got -1\.0 in round 1 instead"),
    (lambda: TraceDelay([[np.nan]]), r"Got nan in round 0 instead"),
    (lambda: FixedDelay(1.0, workers=[4]).delays(0, 4), "a worker that is none of 0 to 3"),
    (lambda: FixedDelay(1.0, n_random=5).delays(0, 4), "cannot choose among only 4 workers"),
    (lambda: TraceDelay([[0.0, 1.0]]).delays(0, 3), "has no delays for 3 workers"),
]


@pytest.mark.parametrize(("make", "text"), BAD)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_a_model_of_ones_own_says_what_is_drawn() -> None:
    class Coin(RandomDelay):
        def draw(self, rng: np.random.Generator, n_workers: int) -> np.ndarray:
            return rng.integers(0, 2, n_workers).astype(float)

    assert set(many(Coin(seed=4))) == {0.0, 1.0}


def test_what_is_no_model_is_not_combined() -> None:
    with pytest.raises(TypeError, match=r"'models' of Combined must be StragglerModels, got 2\.0"):
        Combined([FixedDelay(1.0), 2.0])  # type: ignore[list-item]
