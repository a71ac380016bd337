"""What every straggler model promises. A new model is one line in ``MODELS``."""

from __future__ import annotations

import inspect
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import dask_gradcode.stragglers
from dask_gradcode.stragglers import (
    Combined,
    ExponentialDelay,
    FixedDelay,
    LossyLinks,
    MarkovSlowdown,
    NeverAnswers,
    ParetoDelay,
    RandomDelay,
    RandomSlowdown,
    ShiftedExponentialDelay,
    Slowdown,
    StragglerModel,
    TraceDelay,
)

N = 6
MODELS: list[StragglerModel] = [
    FixedDelay(2.0, workers=(1, 4)),
    FixedDelay(0.5, n_random=2, seed=1),
    ExponentialDelay(0.3),
    ExponentialDelay(0.3, n_random=3, seed=5),
    ShiftedExponentialDelay(1.0, 0.2, workers=range(3)),
    ParetoDelay(1.5, 0.1, seed=2),
    TraceDelay(np.arange(4.0 * N).reshape(4, N)),
    NeverAnswers(workers=[0]),
    NeverAnswers(n_random=1),
    NeverAnswers(probability=0.3),
    Slowdown(8.0, workers=[0, 5]),
    Slowdown(1.5, n_random=2, seed=3),
    Slowdown(8.0, probability=0.2, seed=4),
    MarkovSlowdown(),
    MarkovSlowdown(8.0, p_begin=0.2, p_end=0.5, rounds_per_step=3, seed=2),
    Combined([FixedDelay(2.0, workers=[1]), Slowdown(8.0, n_random=1), MarkovSlowdown(2.0)]),
]
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)
every_random_model = pytest.mark.parametrize(
    "model",
    [model for model in MODELS if isinstance(model, RandomDelay | RandomSlowdown)],
    ids=repr,
)
every_value = pytest.mark.parametrize(
    "model", [model for model in MODELS if not isinstance(model, TraceDelay)], ids=repr
)


def subclasses(of: type) -> set[type]:
    return {of}.union(*map(subclasses, of.__subclasses__()))


def test_every_model_is_listed_above() -> None:
    public = {getattr(dask_gradcode.stragglers, n) for n in dask_gradcode.stragglers.__all__}
    public -= {LossyLinks}  # of links, not of workers
    ours = {
        model
        for model in subclasses(StragglerModel)
        if model.__module__.startswith("dask_gradcode")
        and vars(sys.modules[model.__module__]).get(model.__name__) is model  # not a docstring's
    }
    assert public == ours
    assert {m for m in ours if not inspect.isabstract(m)} == {*map(type, MODELS), StragglerModel}


@every_model
@given(rounds=st.lists(st.integers(0, 50), min_size=1, max_size=10))
def test_a_round_is_the_same_whatever_was_asked_before(
    model: StragglerModel, rounds: list[int]
) -> None:
    fresh = pickle.loads(pickle.dumps(model))
    for number in rounds:
        model.delays(number, N), model.slowdowns(number, N)
    for number in reversed(rounds):
        assert_array_equal(model.slowdowns(number, N), fresh.slowdowns(number, N))
        assert_array_equal(model.delays(number, N), fresh.delays(number, N))


@every_model
def test_delays_are_seconds_and_slowdowns_factors_for_each_worker(model: StragglerModel) -> None:
    for number in range(20):
        for found, least in ((model.delays(number, N), 0), (model.slowdowns(number, N), 1)):
            assert found.shape == (N,)
            assert found.dtype == np.float64
            assert (found >= least).all()


@every_model
def test_somebody_is_late_or_slow_in_some_round(model: StragglerModel) -> None:
    usual = StragglerModel()
    assert any(
        (model.delays(number, N) > usual.delays(number, N)).any()
        or (model.slowdowns(number, N) > usual.slowdowns(number, N)).any()
        for number in range(100)
    )


@every_model
def test_the_caller_may_change_what_he_got(model: StragglerModel) -> None:
    for asked in (model.delays, model.slowdowns):
        before = asked(3, N).copy()
        asked(3, N)[:] = -1.0
        assert_array_equal(asked(3, N), before)


@every_random_model
def test_only_those_who_are_chosen_are_delayed_or_slow(
    model: RandomDelay | RandomSlowdown,
) -> None:
    counts = []
    for number in range(20):
        concerned = np.flatnonzero(model.delays(number, N) + model.slowdowns(number, N) - 1.0)
        counts.append(concerned.size)
        if model.workers is not None:
            assert concerned.tolist() == list(model.workers)
        elif model.probability is None:
            assert concerned.size == (N if model.n_random is None else model.n_random)
    assert len(set(counts)) == 1 or model.probability is not None


@every_value
def test_a_model_is_a_value(model: StragglerModel) -> None:
    assert eval(repr(model)) == model
    assert hash(eval(repr(model))) == hash(model)
