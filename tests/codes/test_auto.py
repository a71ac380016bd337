from __future__ import annotations

import pytest

from dask_gradcode.codes import (
    CyclicRepetition,
    FractionalRepetition,
    GradientCode,
    Uncoded,
    make_code,
)


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
    ],
)
def test_a_name_gives_its_code(
    name: str, n_workers: int, n_stragglers: int, expected: GradientCode
) -> None:
    assert make_code(name, n_workers, n_stragglers, seed=5) == expected


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="name must be") as caught:
        make_code("cylic", 8, 1)
    assert str(caught.value) == (
        "A code's name must be 'auto', 'fractional', 'cyclic' or 'uncoded', got 'cylic'."
    )


def test_no_code_takes_no_stragglers() -> None:
    with pytest.raises(ValueError, match="Uncoded needs all workers, got n_stragglers=1"):
        make_code("uncoded", 8, 1)


@pytest.mark.parametrize("n_stragglers", [-1, 8, True, 1.5])
def test_bad_numbers_are_refused_by_every_name(n_stragglers: int) -> None:
    for name in ("auto", "fractional", "cyclic", "uncoded"):
        with pytest.raises(ValueError, match="n_stragglers"):
            make_code(name, 8, n_stragglers)
