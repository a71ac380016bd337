from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dask_gradcode.codes import FractionalRepetition


def test_the_encoding_matrix_is_the_papers() -> None:
    expected = np.kron(np.eye(2), np.ones((3, 3)))
    assert_array_equal(FractionalRepetition(6, 2).encoding_matrix, expected)


def test_one_answer_per_group_is_enough() -> None:
    decoder = FractionalRepetition(12, 3).decoder()
    assert [decoder.add(message) for message in (3, 1, 8, 11, 4)] == [False] * 4 + [True]
    decoding = decoder.decode()
    assert_array_equal(np.flatnonzero(decoding.weights), [3, 4, 8])
    assert (decoding.residual, decoding.amplification) == (0.0, 1.0)


def test_the_first_answer_of_a_group_is_used_whichever_it_is() -> None:
    decoder = FractionalRepetition(4, 1).decoder()
    for message in (1, 0, 3, 2):
        decoder.add(message)
    assert_array_equal(decoder.decode().weights, [0.0, 1.0, 0.0, 1.0])


def test_the_groups_that_answered_are_the_approximation() -> None:
    decoding = FractionalRepetition(6, 1).decode(np.array([0, 0, 1, 1, 0, 1], dtype=bool))
    assert_array_equal(decoding.weights, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    assert decoding.residual == 1.0


def test_the_sum_does_not_depend_on_who_was_late() -> None:
    code = FractionalRepetition(9, 2)
    values = np.random.default_rng(0).normal(size=(9, 5))
    payload = [sum(values[block] for block in m.blocks) for m in code.messages]
    totals = set()
    for late in range(9):
        mask = np.arange(9) != late
        total = code.combine(code.decode(mask), {i: payload[i] for i in np.flatnonzero(mask)})
        totals.add(total.tobytes())
    assert len(totals) == 1


@pytest.mark.parametrize(
    ("n_workers", "n_stragglers", "counts"), [(8, 2, "6 or 9"), (5, 3, "4 or 8"), (7, 5, "6 or 12")]
)
def test_an_indivisible_number_is_refused_with_the_nearest_good_ones(
    n_workers: int, n_stragglers: int, counts: str
) -> None:
    with pytest.raises(ValueError, match="needs n_stragglers") as caught:
        FractionalRepetition(n_workers, n_stragglers)
    assert str(caught.value) == (
        "FractionalRepetition needs n_stragglers + 1 to divide n_workers, "
        f"got n_workers={n_workers} and n_stragglers={n_stragglers}.\n"
        f"Use {counts} workers, or CyclicRepetition, which takes any n_workers."
    )
