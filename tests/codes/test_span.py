from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dask_gradcode.codes import CyclicRepetition, SpanDecoder


@pytest.mark.parametrize("seed", range(20))
def test_the_span_decoder_agrees_with_the_rank_of_the_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, 2, size=(9, 6)).astype(float)
    ones = np.ones((1, 6))
    decoder = SpanDecoder(rows)
    for index in range(len(rows)):
        some = rows[: index + 1]
        spanned = np.linalg.matrix_rank(np.vstack([some, ones])) == np.linalg.matrix_rank(some)
        assert decoder.add(index) == spanned


def test_a_matrix_and_its_code_are_decoded_alike() -> None:
    code = CyclicRepetition(7, 2)
    by_code, by_matrix = SpanDecoder(code), SpanDecoder(code.encoding_matrix)
    for message in (0, 6, 3, 1, 4):
        assert by_code.add(message) == by_matrix.add(message)
    assert_allclose(by_code.decode().weights, by_matrix.decode().weights)
    assert by_code.decode().residual < 1e-10


def test_the_weights_are_the_shortest_ones() -> None:
    decoder = SpanDecoder(np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert [decoder.add(index) for index in range(3)] == [True, True, True]
    assert_allclose(decoder.decode().weights, [0.5, 0.5, 0.0])
