from __future__ import annotations

import pickle

import numpy as np
import pytest

from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, Uncoded


@pytest.mark.parametrize("code", [FractionalRepetition, CyclicRepetition])
@pytest.mark.parametrize("n_stragglers", [4, -1, 1.0, True, np.True_, None, "1"])
def test_a_bad_number_of_stragglers_is_refused(code: type, n_stragglers: object) -> None:
    with pytest.raises(ValueError, match="'n_stragglers'") as caught:
        code(4, n_stragglers)
    assert str(caught.value) == (
        f"The 'n_stragglers' of {code.__name__} must be an int in the range [0, n_workers). "
        f"Got n_stragglers={n_stragglers!r} with n_workers=4 instead."
    )


@pytest.mark.parametrize("code", [Uncoded, lambda n: CyclicRepetition(n, 0)])
@pytest.mark.parametrize("n_workers", [0, -3, 2.0, True, None])
def test_a_bad_number_of_workers_is_refused(code: type, n_workers: object) -> None:
    with pytest.raises(ValueError, match=r"The 'n_workers' of \w+ must be an int in the range"):
        code(n_workers)


def test_a_bad_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The 'seed' of CyclicRepetition .*Got seed=-1 "):
        CyclicRepetition(4, 1, seed=-1)


def test_numpy_integers_become_plain_ones() -> None:
    code = CyclicRepetition(np.int64(5), np.int32(1), np.uint8(3))
    assert repr(code) == "CyclicRepetition(n_workers=5, n_stragglers=1, seed=3)"
    assert len(pickle.dumps(code)) < 200
