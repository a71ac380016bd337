from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode.cluster.placement.codes import choose_code
from dask_gradcode.codes import (
    CyclicRepetition,
    FractionalRepetition,
    PartialStragglers,
    Uncoded,
)

INNERS = [FractionalRepetition(6, 1), FractionalRepetition(6, 2), CyclicRepetition(7, 2)]


@pytest.mark.parametrize("inner", INNERS, ids=repr)
@pytest.mark.parametrize("n_private", [1, 2, 5])
def test_slowdown_and_load_are_the_papers(
    inner: FractionalRepetition | CyclicRepetition, n_private: int
) -> None:
    code, n, s = PartialStragglers(inner, n_private), inner.n_workers, inner.n_stragglers
    alpha = code.slowdown
    assert alpha == (n_private + s + 1) / n_private
    assert_allclose(code.load, alpha * (s + 1) / (n * (s + alpha)), rtol=1e-14)
    assert code.n_blocks == n * (n_private + 1)
    assert 1 / n < code.load <= (s + 1) / n


@pytest.mark.parametrize("inner", INNERS, ids=repr)
def test_private_blocks_are_on_one_worker_and_coded_ones_on_s_plus_one(
    inner: FractionalRepetition | CyclicRepetition,
) -> None:
    code = PartialStragglers(inner, 3)
    replicas = [*map(len, code.holders)]
    n_all_private = 3 * inner.n_workers
    assert_array_equal(replicas[:n_all_private], 1)
    assert_array_equal(replicas[n_all_private:], inner.n_stragglers + 1)
    private, coded = np.split(code.encoding_matrix, [inner.n_workers])
    assert not private[:, n_all_private:].any()
    assert not coded[:, :n_all_private].any()
    assert_array_equal(coded[:, n_all_private:], inner.encoding_matrix)


def test_a_worker_sends_its_private_sum_first() -> None:
    code = PartialStragglers(CyclicRepetition(5, 2), 2)
    for worker, (first, second) in enumerate(code.messages_of):
        assert code.messages[first].blocks == (2 * worker, 2 * worker + 1)
        assert code.messages[first].coefficients == (1.0, 1.0)
        assert min(code.messages[second].blocks) >= 10


@given(n_private=st.integers(1, 30), s=st.integers(0, 3))
def test_the_slowdown_of_a_code_gives_the_same_code_without_a_warning(
    n_private: int, s: int
) -> None:
    inner = FractionalRepetition(s + 1, s)
    code = PartialStragglers(inner, n_private)
    assert PartialStragglers.from_slowdown(inner, code.slowdown) == code


@given(slowdown=st.floats(1.01, 50.0), s=st.integers(0, 3))
def test_the_next_larger_slowdown_is_taken_where_there_is_one(slowdown: float, s: int) -> None:
    inner = FractionalRepetition(s + 1, s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        code = PartialStragglers.from_slowdown(inner, slowdown)
    assert code.slowdown >= min(slowdown, s + 2) - 1e-9
    assert PartialStragglers(inner, code.n_private + 1).slowdown < slowdown


@pytest.mark.parametrize(
    ("slowdown", "text"),
    [
        (2.5, "would need 1.33333 private .* n_private=1 is taken, .* a slowdown of 3"),
        (9.0, "would need 0.25 private .* n_private=1 is taken, .* a slowdown of 3"),
    ],
)
def test_rounding_the_slowdown_is_said(slowdown: float, text: str) -> None:
    with pytest.warns(UserWarning, match=text):
        code = PartialStragglers.from_slowdown(FractionalRepetition(4, 1), slowdown)
    assert code.n_private == 1


@pytest.mark.parametrize("slowdown", [1.0, 0.5, -2.0, np.inf, np.nan, "2", None])
def test_a_slowdown_that_is_none_is_refused(slowdown: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"range (1, inf). Got {slowdown!r} instead")):
        PartialStragglers.from_slowdown(FractionalRepetition(4, 1), slowdown)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_private", [0, -1, 1.5, True, None])
def test_a_bad_number_of_private_blocks_is_refused(n_private: object) -> None:
    with pytest.raises(ValueError, match=r"'n_private' of PartialStragglers .* range \[1, inf\)"):
        PartialStragglers(FractionalRepetition(4, 1), n_private)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "inner", [Uncoded(4), PartialStragglers(FractionalRepetition(4, 1), 1), "fractional", 4]
)
def test_another_inner_code_is_refused(inner: object) -> None:
    with pytest.raises(ValueError, match="must be a FractionalRepetition or a CyclicRepetition"):
        PartialStragglers(inner, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a FractionalRepetition or a CyclicRepetition"):
        PartialStragglers.from_slowdown(inner, 2.0)  # type: ignore[arg-type]


def test_it_says_that_it_tolerates_slow_workers_but_not_dead_ones() -> None:
    code = PartialStragglers(FractionalRepetition(6, 2), 3)
    assert repr(code) == (
        "PartialStragglers(inner=FractionalRepetition(n_workers=6, n_stragglers=2), n_private=3)"
        "  # tolerates 2 slow worker(s), no dead one"
    )
    assert code.n_stragglers == 0
    assert "not one dead" in str(PartialStragglers.__doc__)


def test_it_cannot_be_asked_to_tolerate_silent_workers() -> None:
    code = PartialStragglers(FractionalRepetition(6, 2), 3)
    assert choose_code(code, 6, None, None, ["here"] * 8) == code
    assert choose_code(code, None, 0, None, ["here"] * 8) == code
    with pytest.raises(
        ValueError, match=r"n_stragglers=2 contradicts .* tolerates 2 slow .* no dead"
    ):
        choose_code(code, None, 2, None, ["here"] * 8)
