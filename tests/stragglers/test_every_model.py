"""What every straggler model promises. A new model is one line in ``MODELS``."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import dask_gradcode.stragglers
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
]
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)
every_random_model = pytest.mark.parametrize(
    "model", [model for model in MODELS if isinstance(model, RandomDelay)], ids=repr
)


def subclasses(of: type) -> set[type]:
    return {of}.union(*map(subclasses, of.__subclasses__()))


def test_every_model_is_listed_above() -> None:
    public = {getattr(dask_gradcode.stragglers, n) for n in dask_gradcode.stragglers.__all__}
    ours = {
        model
        for model in subclasses(StragglerModel)
        if model.__module__.startswith("dask_gradcode")
    }
    assert public == ours
    assert {m for m in ours if not inspect.isabstract(m)} == {*map(type, MODELS)}


@every_model
@given(rounds=st.lists(st.integers(0, 50), min_size=1, max_size=10))
def test_a_round_has_the_same_delays_whatever_was_asked_before(
    model: StragglerModel, rounds: list[int]
) -> None:
    fresh = pickle.loads(pickle.dumps(model))
    for number in rounds:
        model.delays(number, N)
    for number in reversed(rounds):
        assert_array_equal(model.delays(number, N), fresh.delays(number, N))


@every_model
def test_delays_are_seconds_for_each_worker(model: StragglerModel) -> None:
    for number in range(20):
        delays = model.delays(number, N)
        assert delays.shape == (N,)
        assert delays.dtype == np.float64
        assert (delays >= 0).all()


@every_model
def test_the_caller_may_change_what_he_got(model: StragglerModel) -> None:
    before = model.delays(3, N).copy()
    model.delays(3, N)[:] = -1.0
    assert_array_equal(model.delays(3, N), before)


@every_random_model
def test_only_those_who_are_chosen_are_delayed(model: RandomDelay) -> None:
    for number in range(20):
        delayed = np.flatnonzero(model.delays(number, N))
        if model.workers is not None:
            assert delayed.tolist() == list(model.workers)
        else:
            assert len(delayed) == (N if model.n_random is None else model.n_random)


@every_random_model
def test_a_model_that_draws_is_a_value(model: RandomDelay) -> None:
    assert eval(repr(model)) == model
    assert hash(eval(repr(model))) == hash(model)
