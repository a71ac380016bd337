"""What payloads of a cyclic code have in common, and what of wrong ones can be located."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dask_gradcode.codes import CyclicRepetition
from dask_gradcode.codes.locating import locate
from dask_gradcode.codes.parity import ParityChecks
from dask_gradcode.typing import Part, Payload

SMALL = [(2, 1), (3, 1), (3, 2), (4, 2), (4, 3), (5, 2), (5, 3), (6, 3), (6, 4), (7, 3), (7, 4)]
N_ENTRIES = 7

every_small_code = pytest.mark.parametrize(("n", "s"), SMALL)


def honest(code: CyclicRepetition, seed: int = 0) -> np.ndarray:
    sums = np.random.default_rng(seed).standard_normal((code.n_workers, N_ENTRIES))
    return code.encoding_matrix @ sums


def arrivals(code: CyclicRepetition) -> Iterator[tuple[int, ...]]:
    """Yield all sets of workers that are more than decoding needs."""
    n, s = code.n_workers, code.n_stragglers
    for size in range(n - s + 1, n + 1):
        yield from combinations(range(n), size)


def with_errors(
    payloads: np.ndarray, arrived: tuple[int, ...], errors: dict[int, np.ndarray]
) -> dict[int, Payload]:
    return {i: payloads[i] + errors.get(i, 0.0) for i in arrived}


# ---- what is found, for all arrivals and all sets of wrong ones


@every_small_code
def test_checks_are_independent_and_zero_of_every_honest_payload(n: int, s: int) -> None:
    code = CyclicRepetition(n, s)
    checks = ParityChecks(code)
    for arrived in arrivals(code):
        found = checks.of(arrived)
        assert found.shape == (n, len(arrived) - (n - s))
        assert_allclose(found.T @ found, np.eye(found.shape[1]), atol=1e-12)
        assert_allclose(found.T @ code.encoding_matrix, 0.0, atol=1e-12)
        assert not found[[i for i in range(n) if i not in arrived]].any()


@every_small_code
def test_as_many_wrong_payloads_as_are_spare_are_noticed(n: int, s: int) -> None:
    code, rng = CyclicRepetition(n, s), np.random.default_rng(1)
    checks, payloads = ParityChecks(code), honest(CyclicRepetition(n, s))
    for arrived in arrivals(code):
        assert checks.agree(with_errors(payloads, arrived, {}))
        for n_wrong in range(1, len(arrived) - (n - s) + 1):
            for wrong in combinations(arrived, n_wrong):
                one = rng.standard_normal(N_ENTRIES)
                for errors in (
                    {i: rng.standard_normal(N_ENTRIES) for i in wrong},
                    {i: one * rng.standard_normal() for i in wrong},  # they conspire
                ):
                    assert not checks.agree(with_errors(payloads, arrived, errors))


@every_small_code
def test_all_but_one_of_the_spare_are_located_if_their_errors_are_independent(
    n: int, s: int
) -> None:
    code, rng = CyclicRepetition(n, s), np.random.default_rng(2)
    checks, payloads = ParityChecks(code), honest(code)
    for arrived in arrivals(code):
        for n_wrong in range(1, len(arrived) - (n - s)):
            for wrong in combinations(arrived, n_wrong):
                errors = {i: rng.standard_normal(N_ENTRIES) for i in wrong}
                assert locate(checks, with_errors(payloads, arrived, errors)) == wrong


@every_small_code
def test_half_of_the_spare_are_located_whatever_they_send(n: int, s: int) -> None:
    code, rng = CyclicRepetition(n, s), np.random.default_rng(3)
    checks, payloads = ParityChecks(code), honest(code)
    for arrived in arrivals(code):
        for n_wrong in range(1, (len(arrived) - (n - s)) // 2 + 1):
            for wrong in combinations(arrived, n_wrong):
                one = rng.standard_normal(N_ENTRIES)
                errors = {i: one * rng.standard_normal() for i in wrong}
                assert locate(checks, with_errors(payloads, arrived, errors)) == wrong


@every_small_code
def test_of_as_many_as_are_spare_nobody_is_accused(n: int, s: int) -> None:
    """Unless they conspire: see below."""
    code, rng = CyclicRepetition(n, s), np.random.default_rng(4)
    checks, payloads = ParityChecks(code), honest(code)
    for arrived in arrivals(code):
        for wrong in combinations(arrived, len(arrived) - (n - s)):
            errors = {i: rng.standard_normal(N_ENTRIES) for i in wrong}
            assert locate(checks, with_errors(payloads, arrived, errors)) is None


def test_more_than_half_who_conspire_and_know_the_code_can_accuse_another() -> None:
    """The bound is sharp: with two spare payloads two liars can make a third look wrong."""
    code = CyclicRepetition(5, 2)
    checks, payloads = ParityChecks(code), honest(code)
    combined = checks.of(range(5))
    as_if = np.linalg.solve(combined[[0, 1]].T, combined[3])  # leaves what an error of 3 would
    one = np.ones(N_ENTRIES)
    errors = {0: as_if[0] * one, 1: as_if[1] * one}
    assert locate(checks, with_errors(payloads, (0, 1, 2, 3, 4), errors)) == (3,)


def test_errors_of_very_different_size_are_located() -> None:
    code, rng = CyclicRepetition(7, 4), np.random.default_rng(5)
    checks, payloads = ParityChecks(code), honest(code)
    errors = {i: 10.0**e * rng.standard_normal(N_ENTRIES) for i, e in ((1, 12), (4, -3), (6, 300))}
    found = locate(checks, with_errors(payloads, tuple(range(7)), errors))
    assert found == (1, 4, 6)


def test_where_only_some_columns_are_sent() -> None:
    code = CyclicRepetition(4, 2)
    payloads: dict[int, Payload] = {}
    for i in range(4):
        entries = sorted({3 * b + k for b in code.blocks_of(i) for k in range(2)})
        sums = np.zeros((4, 12))
        for b in code.blocks_of(i):
            sums[b, 3 * b : 3 * b + 2] = [1.0 + b, -2.0]
        whole = code.encoding_matrix[i] @ sums
        payloads[i] = Part(whole[entries], np.array(entries), 12)
    checks = ParityChecks(code)
    assert checks.agree(payloads)
    bad = payloads[2]
    assert isinstance(bad, Part)
    payloads[2] = Part(bad.values + np.eye(1, bad.values.size, 1)[0], bad.entries, 12)
    assert not checks.agree(payloads)
    assert locate(checks, payloads) == (2,)


def test_too_many_sets_to_try_is_not_known() -> None:
    code = CyclicRepetition(60, 5)
    checks, payloads = ParityChecks(code), honest(code)
    errors = {i: np.random.default_rng(i).standard_normal(N_ENTRIES) for i in (3, 20, 41)}
    assert locate(checks, with_errors(payloads, tuple(range(60)), errors)) is None
    del errors[41]
    assert locate(checks, with_errors(payloads, tuple(range(60)), errors)) == (3, 20)


# ---- rounding


@settings(max_examples=100)
@given(
    st.sampled_from([(3, 1), (6, 2), (8, 3), (12, 3), (20, 3), (30, 3), (60, 5)]),
    st.integers(0, 2**32 - 1),
    st.integers(-290, 290),
    st.integers(0, 12),
)
def test_rounding_raises_no_alarm_whatever_the_scale_and_the_condition(
    size: tuple[int, int], seed: int, exponent: int, spread: int
) -> None:
    """Each worker rounds in its own way, relative to what its payload is a sum of."""
    code, rng = CyclicRepetition(*size), np.random.default_rng(seed)
    n, s = size
    sums = rng.standard_normal((n, 5)) * 10.0 ** rng.integers(-spread, 1, (n, 1))
    terms = code.encoding_matrix[:, :, None] * sums
    kernels = 1.0 + 1e-9 * rng.standard_normal(terms.shape)  # far more than double precision
    payloads = (terms * kernels).sum(axis=1) * 10.0**exponent
    checks = ParityChecks(code)
    n_arrived = int(rng.integers(n - s + 1, n + 1))
    arrived = rng.permutation(n)[:n_arrived].tolist()
    assert checks.agree({i: payloads[i] for i in arrived})


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(-290, 290), st.floats(-5.0, 10.0))
def test_an_error_beyond_rounding_is_seen_and_located(
    seed: int, exponent: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    code = CyclicRepetition(6, 3)
    payloads = honest(code, seed) * 10.0**exponent
    role = int(rng.integers(6))
    payloads[role, int(rng.integers(N_ENTRIES))] += 10.0 ** (exponent + size)
    given_ = dict(enumerate(payloads))
    checks = ParityChecks(code)
    assert not checks.agree(given_)
    assert locate(checks, given_) == (role,)


def test_what_cancels_close_to_a_minimum_is_judged_by_earlier_rounds() -> None:
    code = CyclicRepetition(4, 2)
    checks = ParityChecks(code)
    payloads = dict(enumerate(honest(code)))
    norm = checks.norm(payloads)
    noise = np.random.default_rng(0).standard_normal((4, N_ENTRIES)) * 1e-12
    nearly_nothing = dict(enumerate(noise))
    assert not checks.agree(nearly_nothing)
    assert checks.agree(nearly_nothing, norm)
