from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dask_gradcode.codes import Uncoded


def test_everybody_is_waited_for() -> None:
    decoder = Uncoded(3).decoder()
    assert [decoder.add(message) for message in (2, 0, 2, 1)] == [False, False, False, True]


def test_an_early_decode_is_the_sum_of_what_arrived() -> None:
    decoding = Uncoded(4).decode(np.array([True, False, True, True]))
    assert_array_equal(decoding.weights, [1.0, 0.0, 1.0, 1.0])
    assert (decoding.residual, decoding.amplification) == (1.0, 0.75)


def test_it_tolerates_no_straggler_and_takes_no_such_argument() -> None:
    assert Uncoded(3).n_stragglers == 0
    assert repr(Uncoded(3)) == "Uncoded(n_workers=3)"
    with pytest.raises(TypeError):
        Uncoded(3, 1)  # type: ignore[call-arg]
