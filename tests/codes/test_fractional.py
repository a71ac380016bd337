from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dask_gradcode.codes import FractionalRepetition


def test_a_row_of_the_papers_matrix_is_what_a_worker_sends() -> None:
    code = FractionalRepetition(6, 2)
    sent = [code.encoding_matrix[list(code.messages_of[worker])] for worker in range(6)]
    assert_array_equal(np.concatenate(sent), np.kron(np.eye(2), np.ones((3, 3))))


def test_one_message_per_group_is_enough_whoever_sends_it() -> None:
    code = FractionalRepetition(12, 3)
    assert len(code.messages) == 3
    assert [code.senders(index) for index in range(3)] == [
        (0, 1, 2, 3),
        (4, 5, 6, 7),
        (8, 9, 10, 11),
    ]
    decoder = code.decoder()
    assert [decoder.add(message) for message in (2, 0, 2, 1)] == [False, False, False, True]
    decoding = decoder.decode()
    assert_array_equal(decoding.weights, [1.0, 1.0, 1.0])
    assert (decoding.residual, decoding.amplification) == (0.0, 1.0)


def test_the_groups_that_answered_are_the_approximation() -> None:
    decoding = FractionalRepetition(6, 1).decode(np.array([False, True, True]))
    assert_array_equal(decoding.weights, [0.0, 1.0, 1.0])
    assert decoding.residual == 1.0


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
