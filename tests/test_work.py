"""Payloads: sums over blocks with the code's coefficients, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from threadpoolctl import threadpool_info, threadpool_limits

from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.kernels import chunk_rows
from dask_gradcode.losses import Logistic, Multinomial
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Vector
from dask_gradcode.work import (
    Block,
    Crew,
    Piece,
    Work,
    as_work,
    compute_message,
    compute_payload,
    pieces_of,
)
from helpers import OwnThenNext, count_rows, logistic_data

CYCLIC = CyclicRepetition(5, 2)
W = np.array([0.5, -1.0, 2.0, 0.25])


def blocks_of(code: GradientCode) -> dict[int, Block]:
    """Blocks of 10, 11, 12, ... rows."""
    parts = {}
    for index in range(code.n_blocks):
        X, y = logistic_data(10 + index, 3, seed=index)
        parts[index] = Block(X, y.astype(float), np.arange(len(y)) % 3.0)
    return parts


def textbook(block: Block, w: Vector) -> Vector:
    X = np.column_stack([block.X, np.ones(block.n_rows)])
    z, weight = X @ w, np.asarray(block.sample_weight)
    p = 1.0 / (1.0 + np.exp(-z))
    value = -weight @ (block.y * np.log(p) + (1.0 - block.y) * np.log(1.0 - p))
    return np.array([value, *(X.T @ (weight * (p - block.y)))])


@pytest.mark.parametrize(
    "code", [CYCLIC, FractionalRepetition(6, 2), Uncoded(3), OwnThenNext(3)], ids=repr
)
def test_a_payload_is_the_coded_sum_of_values_and_gradients(code: GradientCode) -> None:
    blocks = blocks_of(code)
    each = np.array([textbook(blocks[index], W) for index in range(code.n_blocks)])
    for row, message in zip(code.encoding_matrix, code.messages, strict=True):
        payload = compute_payload(code, message, blocks, as_work(Logistic()), W)
        assert payload is not None
        assert_allclose(payload, row @ each, rtol=1e-11)


def test_a_worker_needs_the_blocks_of_its_message_only() -> None:
    blocks, message = blocks_of(CYCLIC), CYCLIC.messages[1]
    held = {index: blocks[index] for index in message.blocks}
    assert len(held) == 3
    assert_array_equal(
        compute_payload(CYCLIC, message, held, as_work(Logistic()), W),
        compute_payload(CYCLIC, message, blocks, as_work(Logistic()), W),
    )


def test_a_block_function_is_summed_with_the_same_coefficients() -> None:
    blocks, message = blocks_of(CYCLIC), CYCLIC.messages[3]
    payload = compute_payload(CYCLIC, message, blocks, as_work(count_rows), W)
    rows = np.array([blocks[index].n_rows for index in message.blocks])
    weights = np.array(message.coefficients)
    assert payload is not None
    assert_allclose(payload, [weights @ rows, *(weights.sum() * W)], rtol=1e-14)


@pytest.mark.parametrize(
    "gradient", [[1.0, 2.0], np.array([[1.0], [2.0]]), (1, 2)], ids=["list", "column", "tuple"]
)
def test_a_block_function_may_return_any_array_like_gradient(gradient: object) -> None:
    code = Uncoded(1)
    blocks = {0: Block(np.zeros((1, 2)), np.zeros(1))}
    payload = compute_payload(
        code, code.messages[0], blocks, as_work(lambda w, block: (7, gradient)), np.zeros(2)
    )
    assert_array_equal(payload, [7.0, 1.0, 2.0])


def test_work_runs_on_one_blas_thread() -> None:
    seen = []

    def work(w: Vector, block: Block) -> tuple[float, Vector]:
        seen.extend(lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas")
        return 0.0, w

    code, blocks, asked = CYCLIC, blocks_of(CYCLIC), as_work(work)

    def cut(leaf: int) -> list[Piece]:
        return pieces_of(code, code.messages[leaf], blocks, asked, W)

    with threadpool_limits(2, "blas"):
        compute_payload(code, code.messages[0], blocks, asked, W)
        for n_threads in (1, 2):
            with closing(Crew(n_threads)) as crew:
                compute_message(code, 0, cut, crew=crew)
    assert len(seen) >= 3 * len(code.messages[0].blocks)
    assert {*seen} == {1}


def test_an_error_in_a_block_function_names_the_block() -> None:
    broken = CYCLIC.messages[3].blocks[1]
    blocks = blocks_of(CYCLIC)

    def work(w: Vector, block: Block) -> tuple[float, Vector]:
        if block is blocks[broken]:
            raise ZeroDivisionError("no rows to my taste")
        return 0.0, w

    with pytest.raises(ZeroDivisionError, match="to my taste") as caught:
        compute_payload(CYCLIC, CYCLIC.messages[3], blocks, as_work(work), W)
    assert caught.value.__notes__ == [f"while computing block {broken}"]


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (Logistic(), "got 7 with n_features=3"),
        (lambda w, b: (0.0, w[:2]), "gradient is an array of"),
    ],
)
def test_what_does_not_fit_names_the_block(
    work: Logistic | Callable[[Vector, Block], tuple[float, Vector]], text: str
) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        compute_payload(CYCLIC, CYCLIC.messages[2], blocks_of(CYCLIC), as_work(work), np.zeros(7))
    assert caught.value.__notes__ == ["while computing block 2"]


@pytest.mark.parametrize("stop_before", [0, 1, 2])
def test_a_block_function_is_stopped_between_two_blocks(stop_before: int) -> None:
    answers, done = iter([False] * stop_before + [True]), []

    def work(w: Vector, block: Block) -> tuple[float, Vector]:
        done.append(block)
        return 0.0, w

    payload = compute_payload(
        CYCLIC, CYCLIC.messages[0], blocks_of(CYCLIC), as_work(work), W, lambda: next(answers)
    )
    assert payload is None
    assert len(done) == stop_before


def test_a_loss_is_stopped_inside_a_block_and_no_block_follows() -> None:
    code = FractionalRepetition(2, 1)
    n_rows = 3 * chunk_rows(np.zeros((1, 1)))
    block = Block(np.ones((n_rows, 1)), np.zeros(n_rows))
    asked = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) == 3

    blocks, work = {0: block, 1: block}, as_work(Logistic())
    payload = compute_payload(code, code.messages[0], blocks, work, np.zeros(1), should_stop)
    assert payload is None
    assert len(asked) == 3


def test_a_block_knows_its_rows_and_bytes() -> None:
    X, y = np.zeros((4, 3)), np.zeros(4)
    dense, weighted = Block(X, y), Block(X, y, np.ones(4))
    assert (dense.n_rows, dense.nbytes) == (4, 4 * 3 * 8 + 4 * 8)
    assert weighted.nbytes == dense.nbytes + 4 * 8


def test_a_sparse_block_counts_what_is_stored() -> None:
    X = csr_array(np.diag([1.0, 2.0, 0.0]).astype(np.float32))
    block = Block(X, np.zeros(3, dtype=np.float32))
    assert X.indices.dtype == X.indptr.dtype == np.int32
    assert (block.n_rows, block.nbytes) == (3, 2 * 4 + 2 * 4 + 4 * 4 + 3 * 4)


class Stubborn:
    """Has all that a work has, though it is not derived from the class."""

    per_column = None
    is_foreign = True

    def statistic(self, w: Vector) -> Statistic:
        return Statistic.at(w)

    def parts(self, block: Block, w: Vector) -> list[Stubborn]:
        return [self]

    def add(self, block: Block, w: Vector, coefficient: float, out: Vector, *_: object) -> bool:
        return False


def test_a_work_is_taken_as_it_is_and_whether_it_is_derived_does_not_matter() -> None:
    for work in (as_work(Logistic()), as_work(count_rows), Stubborn()):
        assert as_work(work) is work
    assert compute_payload(CYCLIC, CYCLIC.messages[0], blocks_of(CYCLIC), Stubborn(), W) is None


def test_only_a_function_is_foreign_and_knows_no_columns() -> None:
    loss, function = as_work(Multinomial((0.0, 1.0, 2.0))), as_work(count_rows)
    assert (loss.per_column, loss.is_foreign) == (3, False)
    assert (function.per_column, function.is_foreign) == (None, True)


def test_a_work_that_adds_nothing_cannot_be_made() -> None:
    class Idle(Work):
        pass

    with pytest.raises(TypeError, match=r"abstract method '?add"):
        Idle()


@pytest.mark.parametrize("work", [None, 3.0, "logistic", object(), Logistic, Stubborn])
def test_what_is_no_work_is_an_error(work: object) -> None:
    with pytest.raises(TypeError, match=r"a Loss, a function .*, or a Work") as caught:
        as_work(work)  # type: ignore[arg-type]
    assert str(caught.value).endswith(f"got {work!r}.")
