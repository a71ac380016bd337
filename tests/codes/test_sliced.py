"""Slices of payloads, and the codes that send them."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode.codes import FractionalRepetition, SlicedRepetition, Slices
from dask_gradcode.codes.mixing import mixing_weights, worst_condition
from dask_gradcode.codes.slices import add_slices
from dask_gradcode.typing import Part
from helpers import payloads_of

sizes, counts = st.integers(1, 60), st.integers(1, 12)


@given(size=sizes, n=counts)
def test_plain_slices_are_all_of_a_payload_and_come_to_it_again(size: int, n: int) -> None:
    payload, total = np.random.default_rng(0).normal(size=size), np.zeros(size)
    for i in range(n):
        slices = Slices(n, i)
        sent = slices.of(payload)
        assert sent.size == slices.length(size)
        assert np.shares_memory(sent, payload) or not sent.size
        if slices.is_whole:
            assert slices.carried(sent, size) is sent
            total += sent
        else:
            part = slices.carried(sent, size)
            assert isinstance(part, Part)
            assert part.size == size
            total[part.entries] += part.values
    assert_array_equal(total, payload)


@given(size=sizes, n=st.integers(2, 6), seed=st.integers(0, 99))
def test_as_many_independent_sums_of_slices_give_the_slices(size: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    payload, mixing = rng.normal(size=size), np.linalg.qr(rng.normal(size=(n, n)))[0]
    total = np.zeros(size)
    for row in mixing:  # orthonormal: what unmixes is the transpose
        slices = Slices(n, 0, tuple(row.tolist()))
        sent = slices.of(payload)
        assert sent.size == slices.length(size) == -(-size // n)
        add_slices(total, row, sent)
    assert_allclose(total, payload, atol=1e-12)


def test_what_is_of_another_length_is_not_taken_for_slices() -> None:
    for slices in (Slices(2, 1), Slices(2, weights=(1.0, -1.0))):
        sent = np.zeros(4)
        assert slices.carried(sent, 20) is sent


@pytest.mark.parametrize("s", range(8))
def test_any_number_of_replicas_can_send_equally_many_slices(s: int) -> None:
    code = SlicedRepetition(2 * (s + 1), s)
    for n_ready in range(1, s + 2):
        assert code.resolution % n_ready == 0
    for worker in range(code.n_workers):
        own = [code.messages[m].slices for m in code.first(worker)]
        assert sum(Fraction(1, one.n_slices) for one in own) == Fraction(1, s + 1)
    everything = [m for worker in range(code.n_workers) for m in code.first(worker)]
    assert everything == list(range(len(code.messages)))


def test_the_bits_are_those_of_fractional_repetition_in_any_order_of_arrival() -> None:
    sliced, whole = SlicedRepetition(9, 2), FractionalRepetition(9, 2)
    blocks = np.random.default_rng(0).normal(size=(9, 25))
    expected = whole.sum()
    for index, payload in enumerate(payloads_of(whole, blocks)):
        expected.add(index, payload)
    everything = np.ones(3, dtype=bool)
    bits = expected.total(whole.decode(everything)).tobytes()
    for seed in range(20):
        total, payloads = sliced.sum(), payloads_of(sliced, blocks)
        for index in np.random.default_rng(seed).permutation(len(payloads)).tolist():
            total.add(index, payloads[index])
        decoding = sliced.decode(np.ones(len(payloads), dtype=bool))
        assert total.total(decoding).tobytes() == bits


@pytest.mark.parametrize(
    ("s", "m", "worst"), [(2, 2, 5.5), (3, 2, 9.0), (3, 3, 35.0), (6, 4, 1300.0)]
)
def test_any_m_of_a_group_give_the_slices_and_no_system_is_near_singular(
    s: int, m: int, worst: float
) -> None:
    weights = mixing_weights(s + m, m)
    conditions = [np.linalg.cond(weights[list(some)]) for some in combinations(range(s + m), m)]
    assert max(conditions) < worst
    assert worst_condition(s + m, m) == pytest.approx(max(conditions))


def test_fewer_than_the_slices_are_combined_to_what_comes_nearest() -> None:
    code = SlicedRepetition(8, 2, n_slices=2)
    decoding = code.decode(code.available([0, 1, 5]))
    assert decoding.residual == pytest.approx(1.0, abs=0.5)
    assert 0.2 < decoding.error < 0.3  # of two groups, half of one
    decoding = code.decode(code.available([0, 1]))
    assert decoding.error == pytest.approx(0.5)
    assert_allclose(code.judge.covered(decoding.weights), [1.0] * 4 + [0.0] * 4, atol=1e-12)


def test_of_slices_that_are_missing_each_block_counts_in_part() -> None:
    code = SlicedRepetition(6, 2)
    arrived = np.ones(len(code.messages), dtype=bool)
    arrived[[1, 2]] = False
    decoding = code.decode(arrived)
    assert decoding.residual == 1.0
    assert_allclose(code.judge.covered(decoding.weights), [4 / 6] * 3 + [1.0] * 3)
    assert decoding.error == pytest.approx(2 / 12)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((8, 2), "n_stragglers . 1 to divide n_workers.*\nUse 6 or 9 workers"),
        ((18, 8), r"n_stragglers below 8, as so many workers at most.*\nUse fewer, or n_slices"),
        ((40, 20, 20), r"20 of 40 sums.*1e\+06 is the limit.\nUse fewer n_slices"),
        ((9, 2, 2), "n_stragglers . n_slices to divide n_workers.*\nUse 8 or 12 workers"),
        ((8, 1, 1), "must be 2 at least, got n_slices=1.\nUse FractionalRepetition"),
        ((8, 1, 0), r"'n_slices' of SlicedRepetition must be an int in the range \[2, n_workers\]"),
        ((4, 1, 2.5), "'n_slices' of SlicedRepetition must be an int"),
        ((4, 4), "'n_stragglers' of SlicedRepetition must be an int"),
    ],
)
def test_arguments_that_fit_no_code_are_refused(arguments: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SlicedRepetition(*arguments)
