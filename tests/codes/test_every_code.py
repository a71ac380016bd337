"""What every gradient code promises. A new code is some lines in ``code_lists``."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import dask_gradcode.codes
from code_lists import EVERY as CODES
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    Decoding,
    FractionalRepetition,
    GradientCode,
    GraphRepetition,
    PartialStragglers,
    SlicedDesign,
    SlicedGraph,
    SlicedRepetition,
    SpanDecoder,
    Uncoded,
)
from dask_gradcode.typing import Payload

PARTIAL = [code for code in CODES if isinstance(code, PartialStragglers)]
OTHERS = Uncoded | PartialStragglers | GraphRepetition | SlicedDesign
REPLICATED = [code for code in CODES if not (isinstance(code, OTHERS) or code.mixes)]
every_code = pytest.mark.parametrize("code", CODES, ids=repr)
EXACT = [code for code in CODES if code.is_exact]
every_exact_code = pytest.mark.parametrize("code", EXACT, ids=repr)
every_replicated_code = pytest.mark.parametrize("code", REPLICATED, ids=repr)


def mask_without(code: GradientCode, lost: tuple[int, ...]) -> np.ndarray:
    """Everything arrived that others than the lost workers can send."""
    return code.available(worker for worker in range(code.n_workers) if worker not in lost)


def allowed_losses(code: GradientCode) -> chain[tuple[int, ...]]:
    sizes = range(code.n_stragglers + 1)
    return chain.from_iterable(combinations(range(code.n_workers), size) for size in sizes)


def encoded(code: GradientCode, blocks: np.ndarray) -> dict[int, Payload]:
    """The payload of every message, as a worker computes it."""
    payloads: dict[int, Payload] = {}
    for index, message in enumerate(code.messages):
        payload = np.zeros(blocks.shape[1])

        def add(block: int, coefficient: float, payload: np.ndarray = payload) -> None:
            payload += coefficient * blocks[block]

        code.encode(message, add)
        payloads[index] = message.slices.carried(message.slices.of(payload), payload.size)
    return payloads


def missed(code: GradientCode, decoding: Decoding) -> np.ndarray:
    """What of the blocks, or of their slices, is counted too little, or too often."""
    wanted: float | np.ndarray = 1.0
    if code.mixes:  # a row for each slice, in which the others should not be
        wanted = np.repeat(np.eye(code.resolution), code.n_blocks, axis=1)
    found: np.ndarray = decoding.weights.T @ code.encoding_matrix - wanted
    return found


def subclasses(of: type) -> set[type]:
    return {of}.union(*map(subclasses, of.__subclasses__()))


def test_every_code_is_listed_above() -> None:
    public = [getattr(dask_gradcode.codes, name) for name in dask_gradcode.codes.__all__]
    classes = [item for item in public if inspect.isclass(item) and issubclass(item, GradientCode)]
    ours = [
        code
        for code in subclasses(GradientCode)
        if code.__module__.startswith("dask_gradcode.codes.") and not inspect.isabstract(code)
    ]
    assert {code for code in classes if not inspect.isabstract(code)} == {*map(type, CODES)}
    assert {*ours} == {*map(type, CODES)}


@every_exact_code
def test_the_sum_is_exact_after_any_allowed_loss(code: GradientCode) -> None:
    blocks = np.random.default_rng(0).normal(size=(code.n_blocks, 3))
    payloads = encoded(code, blocks)
    for lost in allowed_losses(code):
        mask = mask_without(code, lost)
        decoding = code.decode(mask)
        assert decoding.residual < 1e-10
        assert not decoding.weights[~mask].any()
        arrived = {index: payloads[index] for index in np.flatnonzero(mask).tolist()}
        assert_allclose(code.combine(decoding, arrived), blocks.sum(axis=0), atol=1e-9)


@pytest.mark.parametrize("code", PARTIAL, ids=repr)
def test_the_sum_is_exact_without_the_last_messages_of_any_slow_workers(
    code: PartialStragglers,
) -> None:
    blocks = np.random.default_rng(0).normal(size=(code.n_blocks, 3))
    payloads = encoded(code, blocks)
    for slow in allowed_losses(code.inner):
        mask = code.available(worker for worker in range(code.n_workers) if worker not in slow)
        mask[: code.n_workers] = True  # the private ones
        decoding = code.decode(mask)
        assert code.can_decode(mask)
        assert decoding.residual < 1e-10
        assert not decoding.weights[~mask].any()
        arrived = {index: payloads[index] for index in np.flatnonzero(mask).tolist()}
        assert_allclose(code.combine(decoding, arrived), blocks.sum(axis=0), atol=1e-9)


@every_code
def test_one_loss_too_many_can_be_fatal_and_is_never_hidden(code: GradientCode) -> None:
    undecodable = 0
    for lost in combinations(range(code.n_workers), code.n_stragglers + 1):
        mask = mask_without(code, lost)
        assert code.can_decode(mask) == (code.decode(mask).residual < 1e-8)
        undecodable += not code.can_decode(mask)
    # one promises less than it may hold; others speak of blocks, which have reached others here
    assert undecodable or isinstance(code, SlicedGraph) or code.exchanges


@every_code
@pytest.mark.parametrize("seed", range(10))
def test_add_says_yes_at_the_earliest_arrival_that_allows_it(code: GradientCode, seed: int) -> None:
    decoder, oracle = code.decoder(), SpanDecoder(code)
    for message in np.random.default_rng(seed).permutation(len(code.messages)).tolist():
        assert decoder.add(message) == oracle.add(message)


@every_code
def test_adding_a_message_twice_changes_nothing(code: GradientCode) -> None:
    once, twice = code.decoder(), code.decoder()
    for message in np.random.default_rng(1).permutation(len(code.messages)).tolist():
        done = once.add(message)
        assert [twice.add(message), twice.add(message)] == [done, done]
        assert_array_equal(once.decode().weights, twice.decode().weights)


@every_code
@pytest.mark.parametrize("seed", range(5))
def test_a_decode_at_any_time_is_the_least_squares_one_and_says_so(
    code: GradientCode, seed: int
) -> None:
    decoder, oracle = code.decoder(), SpanDecoder(code)
    arrived = np.zeros(len(code.messages), dtype=bool)
    for message in np.random.default_rng(seed).permutation(len(code.messages)).tolist():
        arrived[message] = True
        decoder.add(message)
        oracle.add(message)
        decoding = decoder.decode()
        error, best = missed(code, decoding), missed(code, oracle.decode())
        assert not decoding.weights[~arrived].any()
        assert_allclose(np.linalg.norm(error), np.linalg.norm(best), atol=1e-9)
        assert_allclose(decoding.residual, abs(error).max(), atol=1e-11)
        n_columns = code.encoding_matrix.shape[1]
        assert_allclose(decoding.error, (error**2).sum() / n_columns, atol=1e-11)
        rows = abs(code.encoding_matrix).mean(axis=1)
        assert_allclose(decoding.amplification, (abs(decoding.weights).T @ rows).sum())


@every_code
def test_a_decoding_is_a_snapshot_that_later_arrivals_leave_alone(code: GradientCode) -> None:
    decoder = code.decoder()
    decoder.add(0)
    early = decoder.decode()
    before = early.weights.copy()
    for message in range(len(code.messages)):
        decoder.add(message)
    decoder.decode().weights[:] = 99.0
    assert_array_equal(early.weights, before)
    assert (decoder.decode().residual < 1e-10) == code.is_exact


@every_code
def test_nothing_arrived_is_a_residual_of_one(code: GradientCode) -> None:
    decoding = code.decoder().decode()
    assert not decoding.weights.any()
    assert (decoding.residual, decoding.error, decoding.amplification) == (1.0, 1.0, 0.0)


@every_exact_code
def test_everything_can_be_decoded_and_nothing_cannot(code: GradientCode) -> None:
    everything = np.ones(len(code.messages), dtype=bool)
    assert code.can_decode(everything)
    assert not code.can_decode(~everything)


@every_code
def test_a_mask_of_the_wrong_shape_is_refused(code: GradientCode) -> None:
    n = len(code.messages)
    for ask in (code.decode, code.can_decode):
        with pytest.raises(ValueError, match=rf"must have shape \({n},\), got \({n + 1},\)"):
            ask(np.ones(n + 1, dtype=bool))


@every_code
def test_messages_are_rows_of_the_encoding_matrix(code: GradientCode) -> None:
    for row, message in zip(code.encoding_matrix.copy(), code.messages, strict=True):
        assert list(message.blocks) == sorted(message.blocks)
        by_slice = row.reshape(code.resolution, code.n_blocks)
        assert message.slices.n_slices == code.resolution
        assert message.blocks == tuple(np.flatnonzero(by_slice.any(axis=0)))
        for t, weight in message.slices.terms():
            coefficients = by_slice[t, list(message.blocks)]
            assert_array_equal(coefficients, weight * np.array(message.coefficients))
            by_slice[t] = 0.0
        assert not by_slice.any()
        assert {*map(type, message.blocks)} == {int}
        assert {*map(type, message.coefficients)} == {float}
    for worker in range(code.n_workers):
        own = [code.messages[index] for index in code.first(worker)]
        first = [(block, t) for m in own for block in m.blocks for t, _ in m.slices.terms()]
        assert len(first) == len({*first})


@every_code
def test_senders_hold_all_blocks_of_a_message(code: GradientCode) -> None:
    for index, message in enumerate(code.messages):
        senders = code.senders(index)
        assert senders
        assert list(senders) == sorted({*senders})
        for worker in range(code.n_workers):
            assert (index in code.messages_of[worker]) == (worker in senders)
            held = {*code.blocks_of(worker)}
            holds_all = {*message.blocks} <= held
            assert (
                worker not in senders or (held & {*message.blocks} and code.exchanges) or holds_all
            )
    for block, holders in enumerate(code.holders):
        assert holders == tuple(w for w in range(code.n_workers) if block in code.blocks_of(w))


@every_replicated_code
def test_the_lower_bound_on_replication_is_met_with_equality(code: GradientCode) -> None:
    assert {*map(len, code.holders)} == {code.n_stragglers + 1}
    held = code.n_blocks // code.n_workers * (code.n_stragglers + 1)
    assert {len(code.blocks_of(worker)) for worker in range(code.n_workers)} == {held}
    assert code.load == (code.n_stragglers + 1) / code.n_workers


@every_code
def test_a_code_is_a_value(code: GradientCode) -> None:
    twin = replace(code)  # type: ignore[type-var]
    assert twin == code
    assert hash(twin) == hash(code)
    assert twin.messages == code.messages
    assert eval(repr(code), {**globals(), **vars(dask_gradcode.codes)}) == code


@every_code
def test_a_pickled_code_decodes_as_before_although_no_matrix_travels(code: GradientCode) -> None:
    mask = mask_without(code, tuple(range(code.n_stragglers)))
    before = code.decode(mask)
    assert code.encoding_matrix.size  # fills the caches
    twin = pickle.loads(pickle.dumps(code))
    assert twin == code
    assert {*vars(twin)} == {*code.__getstate__()}
    assert_array_equal(twin.decode(mask).weights, before.weights)


@pytest.mark.parametrize(
    "code",
    [
        Uncoded(1000),
        FractionalRepetition(1000, 3),
        CyclicRepetition(1000, 3),
        PartialStragglers(CyclicRepetition(1000, 3), 4),
        DeclusteredRepetition(1000, 3),
        GraphRepetition(1000, 4),
        SlicedRepetition(1000, 3),
        SlicedRepetition(1000, 2, n_slices=2),
    ],
    ids=repr,
)
def test_a_large_code_is_decoded_exactly_and_its_pickle_stays_small(code: GradientCode) -> None:
    mask = mask_without(code, tuple(range(997, 997 + code.n_stragglers)))
    assert code.decode(mask).residual < 1e-8
    assert len(pickle.dumps(code)) < 500


@st.composite
def codes(draw: st.DrawFn) -> GradientCode:
    n_stragglers = draw(st.integers(0, 5))
    size = n_stragglers + 1
    inner: FractionalRepetition | CyclicRepetition
    if draw(st.booleans()):
        inner = FractionalRepetition(size * draw(st.integers(1, 60 // size)), n_stragglers)
    else:
        inner = CyclicRepetition(draw(st.integers(size, 60)), n_stragglers, draw(st.integers(0, 3)))
    n_private = draw(st.integers(0, 3))
    return PartialStragglers(inner, n_private) if n_private else inner


@given(code=codes(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_set_of_stragglers_leaves_the_sum_exact(
    code: GradientCode, data: st.DataObject
) -> None:
    workers = st.integers(0, code.n_workers - 1)
    lost = data.draw(st.sets(workers, max_size=code.n_stragglers))
    mask = mask_without(code, tuple(lost))
    decoding = code.decode(mask)
    assert code.can_decode(mask)
    assert not decoding.weights[~mask].any()
    assert decoding.residual < 1e-15 * 100 * max(1.0, decoding.amplification) * code.n_workers


@given(code=codes(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_set_of_arrivals_is_judged_truthfully(code: GradientCode, data: st.DataObject) -> None:
    n = len(code.messages)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    decoding = code.decode(mask)
    error = abs(decoding.weights @ code.encoding_matrix - 1.0).max()
    assert_allclose(decoding.residual, error, atol=1e-9)
    assert code.can_decode(mask) == (decoding.residual < 1e-7)
