from __future__ import annotations

import pickle
from itertools import combinations
from math import comb

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode.codes import CyclicRepetition, SpanDecoder, cyclic_design
from dask_gradcode.codes.cyclic_design import best_design
from dask_gradcode.codes.erasures import Erasures


def dense_reference(encoding: np.ndarray, s: int) -> tuple[np.ndarray, np.ndarray]:
    """The shortest weights and a basis of the left null space, by singular values."""
    n = len(encoding)
    left, values, right = np.linalg.svd(encoding)
    rank = n - s
    shortest = left[:, :rank] @ ((right[:rank] @ np.ones(n)) / values[:rank])
    return shortest, left[:, rank:]


@pytest.mark.parametrize(
    ("n", "s"), [(1, 0), (6, 0), (5, 1), (12, 3), (9, 8), (60, 5), (100, 9), (200, 3), (400, 20)]
)
def test_the_factorisation_agrees_with_singular_values(n: int, s: int) -> None:
    code = CyclicRepetition(n, s)
    found = best_design(n, s, 0).erasures
    origin, basis = dense_reference(code.encoding_matrix, s)
    assert_allclose(found.origin, origin, atol=1e-9 * abs(origin).max())
    assert_allclose(found.basis @ found.basis.T, basis @ basis.T, atol=1e-9)
    assert_allclose(found.basis.T @ found.basis, np.eye(s), atol=1e-13)
    assert abs(found.basis.T @ code.encoding_matrix).max(initial=0.0) < 1e-12 * n


@pytest.mark.parametrize(("n", "s"), [(8, 2), (9, 3)])
def test_the_weights_are_the_shortest_where_fewer_are_missing(n: int, s: int) -> None:
    code = CyclicRepetition(n, s)
    for size in range(s + 1):
        for lost in combinations(range(n), size):
            mask = np.ones(n, dtype=bool)
            mask[list(lost)] = False
            oracle = SpanDecoder(code)
            for message in np.flatnonzero(mask).tolist():
                oracle.add(message)
            assert_allclose(code.decode(mask).weights, oracle.decode().weights, atol=1e-9)


@pytest.mark.parametrize(("n", "s"), [(7, 1), (10, 3), (40, 4)])
def test_rows_are_cyclic_and_lie_in_the_null_space_of_h(n: int, s: int) -> None:
    encoding = CyclicRepetition(n, s).encoding_matrix
    for worker, row in enumerate(encoding):
        assert_array_equal(np.flatnonzero(row), np.sort((worker + np.arange(s + 1)) % n))
        assert row[worker] == 1.0
    assert np.linalg.matrix_rank(encoding, tol=1e-9) == n - s


def test_it_waits_for_exactly_all_but_the_stragglers() -> None:
    decoder = CyclicRepetition(7, 2).decoder()
    said = [decoder.add(message) for message in (6, 0, 3, 3, 2, 5, 1, 4)]
    assert said == [False, False, False, False, False, True, True, True]


def test_one_worker_is_enough_where_all_others_may_be_silent() -> None:
    code = CyclicRepetition(6, 5)
    assert code.decoder().add(4)
    assert_allclose(code.decode(np.arange(6) == 4).weights, np.arange(6) == 4)


def test_the_seed_decides_the_coefficients() -> None:
    first = CyclicRepetition(9, 3, seed=1).messages
    best_design.cache_clear()
    assert CyclicRepetition(9, 3, seed=1).messages == first
    assert CyclicRepetition(9, 3, seed=2).messages != first


def test_the_best_of_many_draws_is_far_better_than_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    best = [best_design(12, 3, seed).amplification for seed in range(8)]
    monkeypatch.setattr(cyclic_design, "_n_draws", lambda n, s: 1)
    first = [best_design.__wrapped__(12, 3, seed).amplification for seed in range(8)]
    assert all(kept <= single for kept, single in zip(best, first, strict=True))
    assert np.median(first) > 3 * np.median(best)


def test_the_amplification_of_a_small_code_is_the_worst_over_all_sets() -> None:
    code = CyclicRepetition(10, 3)
    worst = 0.0
    for lost in combinations(range(10), 3):
        mask = ~np.isin(np.arange(10), lost)
        worst = max(worst, code.decode(mask).amplification)
    assert_allclose(best_design(10, 3, 0).amplification, worst, rtol=1e-9)


def test_a_larger_code_tries_all_runs_of_neighbours() -> None:
    n, s = 30, 4
    assert comb(n, s) > 500
    code = CyclicRepetition(n, s)
    for first in range(n):
        mask = ~np.isin(np.arange(n), (first + np.arange(s)) % n)
        limit = best_design(n, s, 0).amplification * (1 + 1e-9)
        assert code.decode(mask).amplification <= limit


def test_a_code_that_would_decode_inaccurately_is_refused() -> None:
    with pytest.raises(ValueError, match="must not amplify") as caught:
        CyclicRepetition(1000, 30)
    rule, remedy = str(caught.value).split("\n")
    assert "more than 1e+06 times, got " in rule
    assert "n_workers=1000, n_stragglers=30 and seed=0" in rule
    assert remedy == (
        "Use fewer stragglers, another seed, or FractionalRepetition, "
        "which takes 992 or 1023 workers."
    )


def test_singular_draws_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def singular(*arguments: object) -> Erasures:
        raise RuntimeError("Factor is exactly singular")

    monkeypatch.setattr(Erasures, "factorize", singular)
    with pytest.raises(ValueError, match=r"got inf times with n_workers=5, n_stragglers=1"):
        CyclicRepetition(5, 1, seed=12345)


def test_a_pickle_is_read_without_drawing_the_coefficients() -> None:
    pickled = pickle.dumps(CyclicRepetition(11, 2, seed=77))
    best_design.cache_clear()
    code = pickle.loads(pickled)
    assert best_design.cache_info().currsize == 0
    assert code.blocks_of(10) == (0, 1, 10)
    assert best_design.cache_info().currsize == 1


def test_a_zero_coefficient_draw_never_happens_in_a_thousand_workers() -> None:
    coefficients = best_design(1000, 3, 0).coefficients
    assert abs(coefficients).min() > 0.0
