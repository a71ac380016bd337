from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.cluster.data.cuts import XFacts, balance, cut, describe_X, pieces


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.data())
def test_pieces_of_all_parts_are_all_rows_in_order(lengths: list[int], data: st.DataObject) -> None:
    n_rows = sum(lengths)
    borders = cut(n_rows, data.draw(st.integers(1, 8)))
    offsets = np.cumsum([0, *lengths])
    found: list[int] = []
    for start, stop in pairwise(borders):
        for piece in pieces(lengths, start, stop):
            assert 0 <= piece.start < piece.stop <= lengths[piece.chunk]
            found += (offsets[piece.chunk] + np.arange(piece.start, piece.stop)).tolist()
    assert found == list(range(n_rows))


def sparse_rows(stored: list[int]) -> csr_array:
    indptr = np.concatenate([[0], np.cumsum(stored)])
    indices = np.concatenate([np.arange(n) for n in stored] + [[]]).astype(np.int32)
    return csr_array((np.ones(indptr[-1]), indices, indptr), shape=(len(stored), 100))


def described(rows: csr_array) -> XFacts:
    return describe_X(Expected("Chunk 0 of X", rows.shape), rows, "me")


@given(st.lists(st.lists(st.integers(0, 30), max_size=80), min_size=1, max_size=4), st.data())
def test_blocks_of_sparse_rows_are_all_rows_and_none_is_empty(
    stored: list[list[int]], data: st.DataObject
) -> None:
    rows = [n for chunk in stored for n in chunk]
    if not rows:
        return
    n_blocks = data.draw(st.integers(1, min(8, len(rows))))
    facts = [described(sparse_rows(chunk)) for chunk in stored if chunk]
    borders = balance(facts, n_blocks)
    assert borders[0] == 0
    assert borders[-1] == len(rows)
    assert min(np.diff(borders)) >= 1


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=20, max_size=80), min_size=1, max_size=4),
    st.data(),
)
def test_blocks_of_sparse_rows_are_near_equal_in_work(
    stored: list[list[int]], data: st.DataObject
) -> None:
    # Ascending, so that equal numbers of rows would be far from equal work.
    stored = np.split(
        np.sort(np.concatenate(stored)), np.cumsum([len(chunk) for chunk in stored])[:-1]
    )
    work = np.array([n for chunk in stored for n in chunk]) + 1
    n_blocks = data.draw(st.integers(2, min(8, len(work) // 8)))
    borders = balance([described(sparse_rows(chunk)) for chunk in stored], n_blocks)
    shares = np.add.reduceat(work, borders[:-1])
    # profile steps are at most two rows here, at both ends of a block
    assert max(shares) <= work.sum() / n_blocks + 4 * max(work)


def test_sparse_rows_are_not_cut_by_their_number() -> None:
    stored = [30] * 16 + [0] * 48
    borders = balance([described(sparse_rows(stored))], 2)
    assert borders[1] <= 10  # half of the work, and not 32, half of the rows


def test_dense_rows_are_cut_by_their_number() -> None:
    facts = [XFacts(30, 2, 480), XFacts(67, 2, 1072)]
    assert balance(facts, 4) == cut(97, 4)


def test_a_heavy_half_gets_most_of_the_blocks() -> None:
    facts = [described(sparse_rows([0] * 5000 + [19] * 5000))]
    assert facts[0].stored is not None
    assert len(facts[0].stored) == 65  # however many rows there are
    borders = balance(facts, 10)
    assert abs(borders[1] - 5275) <= 80  # the light rows and 275 heavy ones: a tenth
