"""What each straggler model is in particular."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from dask_gradcode.stragglers import (
    ExponentialDelay,
    FixedDelay,
    NeverAnswers,
    ParetoDelay,
    RandomDelay,
    ShiftedExponentialDelay,
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
    (lambda: NeverAnswers(workers=[1], n_random=1), "needs either workers or n_random, got"),
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
