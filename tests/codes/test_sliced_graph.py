"""Codes that send half and are nearly exact: what they miss, bounds, and the paper's figures."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dask_gradcode.codes import GradientCode, SlicedDesign, SlicedGraph, SlicedRepetition
from dask_gradcode.codes.sliced_design import PLANES
from dask_gradcode.rounds import Deadline, UntilExact
from helpers import payloads_of

GRAPHS = [SlicedGraph(40, 6, 3, seed) for seed in range(4)]
PLANES_91 = [SlicedDesign.plane(9, seed) for seed in range(4)]


def errors(code: GradientCode, n_late: int, n_sets: int) -> list[float]:
    """What is missed, in slices of blocks, where random workers are late."""
    rng, everybody = np.random.default_rng(n_late), set(range(code.n_workers))
    late = (rng.choice(code.n_workers, n_late, replace=False).tolist() for _ in range(n_sets))
    n_columns = code.resolution * code.n_blocks
    return [n_columns * code.decode(code.available(everybody.difference(w))).error for w in late]


@pytest.mark.parametrize(("n_late", "published"), [(1, 15.7), (9, 18.3), (22, 23.9)])
def test_on_the_plane_of_order_nine_as_much_is_missed_as_published(
    n_late: int, published: float
) -> None:
    found = np.mean([errors(code, n_late, 4) for code in PLANES_91])
    assert found == pytest.approx(published, rel=0.02)
    assert found <= 182 * PLANES_91[0].upper_bound(n_late)
    assert found >= 182 * PLANES_91[0].lower_bound(n_late)


def test_on_the_bipartite_graph_as_much_is_missed_as_published() -> None:
    assert np.mean([errors(code, 10, 15) for code in GRAPHS]) == pytest.approx(1.6, abs=0.25)
    assert np.mean([errors(code, 4, 15) for code in GRAPHS]) == pytest.approx(0.28, abs=0.15)
    rival = SlicedRepetition(42, 4, n_slices=2)
    assert rival.load == pytest.approx(GRAPHS[0].load, rel=0.05)
    assert max(errors(rival, 4, 50)) < 1e-20
    # it has 42 blocks, 84 slices, where the paper counts 42
    assert np.mean(errors(rival, 10, 3000)) / 2 == pytest.approx(0.034, abs=0.015)


@given(code=st.sampled_from(GRAPHS), data=st.data())
@settings(max_examples=30, deadline=None)
def test_what_a_graph_misses_is_not_above_its_bound(code: SlicedGraph, data: st.DataObject) -> None:
    late = data.draw(st.sets(st.integers(0, 39), max_size=40))
    alive = code.available(set(range(40)) - late)
    error = code.decode(alive).error
    assert error <= code.upper_bound(late) + 1e-12
    assert error >= 0.0


def test_the_lower_bound_is_met_where_all_holders_of_blocks_are_silent() -> None:
    code = GRAPHS[0]
    holders = set(code.holders[0])
    for n_left, least in ((2, 0), (1, 1), (0, 2)):
        silent = {*sorted(holders)[: len(holders) - n_left]}
        assert round(40 * code.lower_bound(len(silent))) == least
        worst = max(
            code.decode(code.available(set(range(40)) - {*some})).error
            for some in combinations(sorted(holders), len(silent))
        )
        assert worst >= code.lower_bound(len(silent)) - 1e-12


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("numbers", [(40, 6, 3), (12, 6, 3), (20, 4, 4), (6, 2, 2), (4, 4, 1)])
def test_a_graph_has_the_degrees_that_are_wanted_on_each_side(
    numbers: tuple[int, int, int], seed: int
) -> None:
    code = SlicedGraph(*numbers, seed)
    n, degree, n_held = numbers
    assert {len(message.blocks) for message in code.messages} == {n_held}
    for side in (0, 1):
        counts = Counter(b for m in code.messages[side::2] for b in m.blocks)
        assert counts == dict.fromkeys(range(code.n_blocks), degree // 2)
        signs = {m.slices.weights[1] for m in code.messages[side::2]}
        assert signs == {(1.0, -1.0)[side]}
    assert code.n_blocks * degree == n * n_held


def test_other_seeds_are_other_graphs() -> None:
    assert len({code.messages for code in GRAPHS}) == len(GRAPHS)


@pytest.mark.parametrize("order", PLANES)
def test_two_workers_of_a_plane_have_one_block_in_common(order: int) -> None:
    code = SlicedDesign.plane(order)
    n, found = code.n_workers, code.differences
    assert n == order**2 + order + 1
    assert sorted((a - b) % n for a in found for b in found if a != b) == list(range(1, n))


@pytest.mark.parametrize("n", [7, 11, 13, 17, 29])
def test_squares_make_a_design_or_a_strongly_regular_graph(n: int) -> None:
    code = SlicedDesign.squares(n)
    held = [set(message.blocks) for message in code.messages]
    common = {(i, j): len(held[i] & held[j]) for i, j in combinations(range(n), 2)}
    if n % 4 == 3:
        assert set(common.values()) == {(n - 3) // 4}
    else:
        assert all((j in held[i]) == (i in held[j]) for i, j in common)
        assert all(
            c == (n - 5) // 4 if j in held[i] else (n - 1) // 4 for (i, j), c in common.items()
        )


@pytest.mark.parametrize("make", [SlicedDesign.plane, SlicedDesign.squares])
@pytest.mark.parametrize("n_late", [0, 2, 5])
def test_the_upper_bound_of_a_design_holds_for_the_mean(make: object, n_late: int) -> None:
    codes = [make(*((3,) if make == SlicedDesign.plane else (13,)), seed) for seed in range(40)]  # type: ignore[operator]
    found = [np.mean(errors(code, n_late, 5)) / 26 for code in codes]
    assert np.mean(found) <= codes[0].upper_bound(n_late) + 0.01
    assert codes[0].upper_bound(13) == codes[0].decode(np.zeros(13, dtype=bool)).error == 1.0


def test_scaled_up_sums_are_nearly_right_on_average() -> None:
    rng, total, n = np.random.default_rng(0), np.zeros(20), 1200
    blocks = rng.normal(size=(20, 20)) + 1.0
    code, whole = GRAPHS[0], blocks.sum(axis=0)
    payloads = dict(enumerate(payloads_of(code, blocks)))
    for _ in range(n):
        late = {*rng.choice(40, 10, replace=False).tolist()}
        decoding = code.decode(code.available(set(range(40)) - late))
        arrived = {i: payload for i, payload in payloads.items() if i not in late}
        covered = code.judge.covered(decoding.weights).sum()
        total += code.combine(decoding, arrived) * code.n_blocks / covered
    assert_allclose(total / n, whole, rtol=0.02, atol=0.25)


def test_rules_that_want_an_exact_sum_refuse_what_never_is() -> None:
    code = SlicedDesign.plane(2)
    with pytest.raises(ValueError, match=r"SlicedDesign never is\.\nUse wait=Deadline"):
        UntilExact().check(code)
    Deadline(1.0).check(code)
    UntilExact().check(GRAPHS[0])


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((7, 2, 2), "needs an even n_workers"),
        ((8, 3, 3), "an even degree"),
        ((8, 6, 1), "divides n_workers . n_held, got n_workers=8, degree=6 and n_held=1"),
        ((4, 6, 3), r"'degree' of SlicedGraph must be an int in the range \[2, n_workers\]"),
        ((8, 4, 0), "'n_held' of SlicedGraph must be an int"),
    ],
)
def test_numbers_that_fit_no_graph_are_refused(numbers: tuple[int, int, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SlicedGraph(*numbers)


@pytest.mark.parametrize(
    "differences", [(), (0, 0), (0, 7), (-1, 2), [0, 1], (0, 1.0), "01", (True, 0)], ids=repr
)
def test_differences_that_make_no_design_are_refused(differences: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tuple of different ints"):
        SlicedDesign(7, differences)


def test_orders_and_primes_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="order must be one of 2, 3, 4, 5, 7, 8, 9, got 6"):
        SlicedDesign.plane(6)
    with pytest.raises(ValueError, match=r"order must be one of .*, got \[9\]"):
        SlicedDesign.plane([9])  # type: ignore[arg-type]
    for n, way_out in ((1, "3"), (2, "3"), (9, "7 or 11"), (15, "13 or 17"), (-5, "3")):
        with pytest.raises(ValueError, match=rf"odd prime, got {n}.\nUse {way_out} workers"):
            SlicedDesign.squares(n)
    with pytest.raises(ValueError, match=r"must be an odd prime, got 7.0\.$"):
        SlicedDesign.squares(7.0)  # type: ignore[arg-type]


def test_integers_of_numpy_are_taken() -> None:
    assert repr(SlicedDesign.plane(np.int64(3))) == repr(SlicedDesign.plane(3))  # type: ignore[arg-type]
    assert repr(SlicedDesign.squares(np.int64(7))) == repr(SlicedDesign.squares(7))  # type: ignore[arg-type]


@pytest.mark.parametrize("n_silent", [-1, 41, 2.5, True, [1, 2]], ids=repr)
def test_more_silent_workers_than_there_are_have_no_bounds(n_silent: Any) -> None:
    design = SlicedDesign.squares(11)
    for bound in GRAPHS[0].lower_bound, design.lower_bound, design.upper_bound:
        with pytest.raises(
            ValueError, match=r"n_silent must be an int in the range \[0, (40|11)\]"
        ):
            bound(n_silent)


@pytest.mark.parametrize("silent", [[40], [-1, 2], 10, ["a"]], ids=repr)
def test_others_than_workers_are_not_silent(silent: Any) -> None:
    with pytest.raises(ValueError, match=r"silent must be workers of .* \[0, 40\)"):
        GRAPHS[0].upper_bound(silent)


def test_bounds_are_those_of_any_kind_of_integers() -> None:
    code = GRAPHS[0]
    assert code.upper_bound(np.arange(10)) == code.upper_bound(range(10))
    assert code.lower_bound(np.int64(10)) == code.lower_bound(10)  # type: ignore[arg-type]
