"""The L1 penalty's steps and subgradients against their definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode.optimizers import L1
from dask_gradcode.typing import Evaluation, Vector

vectors = st.lists(st.floats(-10, 10), min_size=4, max_size=4).map(np.array)
strengths = st.floats(0.01, 5)


@given(w=vectors, strength=strengths, step=st.floats(0.01, 5))
def test_prox_minimises_penalty_plus_distance(w: Vector, strength: float, step: float) -> None:
    penalty = L1(strength, 3)

    def cost(x: Vector) -> float:
        return penalty.value(x) + float((x - w) @ (x - w)) / (2 * step)

    best = penalty.prox(w, step)
    assert best[3] == w[3]
    for index in range(4):
        for candidate in np.append(np.linspace(-12, 12, 49), 0.0):
            other = best.copy()
            other[index] = candidate
            assert cost(best) <= cost(other) + 1e-9


@given(w=vectors, gradient=vectors, strength=strengths)
def test_steepest_is_the_shortest_subgradient(w: Vector, gradient: Vector, strength: float) -> None:
    w[np.abs(w) < 2] = 0.0
    found = L1(strength, 3).steepest(w, gradient)
    slopes = np.where(w == 0.0, np.clip(-gradient / strength, -1, 1), np.sign(w))
    assert_allclose(found[:3], (gradient + strength * slopes)[:3], atol=1e-9)
    assert found[3] == gradient[3]


def test_zeros_are_plain_zeros() -> None:
    x = L1(1.0, 2).prox(np.array([-0.5, 0.5, -0.5]), 1.0)
    assert not np.signbit(x[:2]).any()
    assert_array_equal(x, [0.0, 0.0, -0.5])


def test_no_strength_is_no_penalty() -> None:
    none, w = L1(0.0, 2), np.array([3.0, -1.0])
    assert_array_equal(none.prox(w, 9.0), w)
    assert_array_equal(none.steepest(w, w), w)
    assert none.is_optimal(w, Evaluation(0.0, np.array([1e-5, -1e-5])), 1e-4)
    assert not none.is_optimal(w, Evaluation(0.0, np.array([1e-5, -1e-3])), 1e-4)
