from __future__ import annotations

import pytest

from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    Size,
    SlicedRepetition,
    Uncoded,
    make_code,
)
from dask_gradcode.codes.auto import CODES, name_of
from dask_gradcode.simulation import choose
from dask_gradcode.stragglers import FixedDelay


@pytest.mark.parametrize(
    ("name", "n_workers", "n_stragglers", "expected"),
    [
        ("auto", 8, 1, FractionalRepetition(8, 1)),
        ("auto", 4, 3, FractionalRepetition(4, 3)),
        ("auto", 8, 2, CyclicRepetition(8, 2, seed=5)),
        ("auto", 8, 0, Uncoded(8)),
        ("auto", 1, 0, Uncoded(1)),
        ("fractional", 8, 0, FractionalRepetition(8, 0)),
        ("cyclic", 8, 1, CyclicRepetition(8, 1, seed=5)),
        ("uncoded", 8, 0, Uncoded(8)),
        ("declustered", 8, 1, DeclusteredRepetition(8, 1)),
        ("declustered", 1, 0, DeclusteredRepetition(1, 0)),
        ("sliced", 8, 1, SlicedRepetition(8, 1)),
    ],
)
def test_a_name_gives_its_code(
    name: str, n_workers: int, n_stragglers: int, expected: GradientCode
) -> None:
    assert make_code(name, n_workers, n_stragglers, seed=5) == expected


@pytest.mark.parametrize("n_stragglers", [-1, 4, 9])
def test_too_many_stragglers_blame_no_code_that_nobody_chose(n_stragglers: int) -> None:
    with pytest.raises(ValueError, match=f"^n_stragglers must be .*={n_stragglers} for 4 workers"):
        make_code("auto", 4, n_stragglers)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="name must be") as caught:
        make_code("cylic", 8, 1)
    assert str(caught.value) == (
        "A code's name must be 'auto', 'declustered', 'fractional', 'cyclic', 'sliced', "
        "'partial-fractional', 'partial-cyclic' or 'uncoded', got 'cylic'."
    )


def test_no_code_takes_no_stragglers() -> None:
    with pytest.raises(ValueError, match="Uncoded needs all workers, got n_stragglers=1"):
        make_code("uncoded", 8, 1)


@pytest.mark.parametrize("n_stragglers", [-1, 8, True, 1.5])
def test_bad_numbers_are_refused_by_every_name(n_stragglers: int) -> None:
    for name in ("auto", *CODES):
        with pytest.raises(ValueError, match="n_stragglers"):
            make_code(name, 8, n_stragglers)


def dense(n_rows: int, n_features: int) -> Size:
    return Size(n_rows, n_rows * n_features, n_features)


@pytest.mark.parametrize(
    ("size", "n_workers", "n_stragglers", "expected"),
    [
        # what a round takes is computing
        (dense(800_000, 100), 4, 1, DeclusteredRepetition(4, 1)),
        (dense(800_000, 100), 5, 2, DeclusteredRepetition(5, 2)),
        (dense(400_000, 100), 4, 1, FractionalRepetition(4, 1)),
        # it is messages: 26,215 one-hot rows, nine values each
        (Size(26_215, 235_935, 241_915), 8, 1, FractionalRepetition(8, 1)),
        (Size(26_215, 235_935, 241_915), 7, 1, CyclicRepetition(7, 1)),
        (dense(1000, 10), 4, 1, FractionalRepetition(4, 1)),
        # it is the client's time for the messages of all
        (Size(10**6, 2 * 10**8, 10**6), 8, 1, DeclusteredRepetition(8, 1, n_leaves=1)),
        (Size(10**6, 2 * 10**8, 10**7), 8, 1, FractionalRepetition(8, 1)),
        # nobody may be late
        (dense(800_000, 100), 4, 0, Uncoded(4)),
        (dense(800_000, 100), 1, 0, Uncoded(1)),
    ],
)
def test_auto_counts_what_there_is_to_compute(
    size: Size, n_workers: int, n_stragglers: int, expected: GradientCode
) -> None:
    assert make_code("auto", n_workers, n_stragglers, size=size) == expected


@pytest.mark.parametrize(
    ("size", "n_leaves"),
    [
        (dense(400_000, 100), 8),
        (dense(4_000, 100), 8),
        (Size(24, 0, 5), 2),  # else some block would have no row
        (dense(3, 100), 1),
        (dense(4_000, 10_000), 4),  # else the sums would cost more than a twentieth of a pass
        (Size(26_215, 235_935, 241_915), 1),
    ],
)
def test_small_data_have_few_leaves(size: Size, n_leaves: int) -> None:
    found = make_code("declustered", 8, 1, size=size)
    assert found == DeclusteredRepetition(8, 1, n_leaves=n_leaves)


def test_a_code_that_no_name_stands_for_has_that_of_its_class() -> None:
    assert name_of(SlicedRepetition(6, 1)) == "sliced"
    assert name_of(SlicedRepetition(6, 1, n_slices=2)) == "SlicedRepetition"


def test_every_name_that_choose_prints_is_taken() -> None:
    candidates = choose(FixedDelay(1.0), 6, work=1.0, max_stragglers=2, upload=0.1).candidates
    assert {candidate.family for candidate in candidates} == set(CODES)
    for candidate in candidates:
        made = make_code(candidate.family, 6, candidate.n_stragglers)
        assert (made, name_of(made)) == (candidate.code, candidate.family)
