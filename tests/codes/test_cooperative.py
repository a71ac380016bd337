"""Cooperative repetition: sums that lack blocks, and how often they are enough."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import binom

from dask_gradcode.codes import CooperativeRepetition, Decoder, Decoding
from dask_gradcode.stragglers import LossyLinks


def test_any_sums_but_as_many_as_neighbours_are_enough_and_fewer_are_not() -> None:
    code = CooperativeRepetition(7, 3, n_transmissions=1)
    for size in (4, 3):
        for workers in combinations(range(7), size):
            assert code.can_decode(code.available(workers)) == (size == 4)


def test_each_worker_sums_over_its_block_and_those_behind_it() -> None:
    code = CooperativeRepetition(5, 2, n_transmissions=3)
    for message in range(15):
        [sender] = code.senders(message)
        assert code.blocks_of(sender) == (sender,)
        behind = {(sender + step) % 5 for step in range(3)}
        assert {*code.messages[message].blocks} == behind
        assert code.transmission(message) == message // 5
    assert [code.first(worker) for worker in range(5)] == [(i,) for i in range(5)]
    assert len({message.coefficients for message in code.messages}) == 15


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[CooperativeRepetition, dict[int, tuple[int, ...]]]:
    """A code, and which blocks are in the sums that arrived, in the order of arrival."""
    n = draw(st.integers(1, 7))
    code = CooperativeRepetition(n, draw(st.integers(0, n - 1)), draw(st.integers(1, 3)))
    order = draw(st.permutations(range(len(code.messages))))
    parts = {}
    for message in order[: draw(st.integers(0, len(order)))]:
        blocks = code.messages[message].blocks
        kept = draw(st.lists(st.booleans(), min_size=len(blocks), max_size=len(blocks)))
        parts[message] = tuple(b for b, keep in zip(blocks, kept, strict=True) if keep)
    return code, parts


def added(decoder: Decoder, parts: dict[int, tuple[int, ...]]) -> tuple[bool, Decoding]:
    decodable = False
    for message, blocks in parts.items():
        decodable = decoder.add_part(message, blocks)
        assert decoder.add_part(message, ()) == decodable  # a second copy changes nothing
    return decodable, decoder.decode()


@given(given=arrivals())
@settings(max_examples=80, deadline=None)
def test_whatever_arrives_is_decoded_as_well_as_can_be_and_judged_truthfully(
    given: tuple[CooperativeRepetition, dict[int, tuple[int, ...]]],
) -> None:
    code, parts = given
    rows = np.zeros((len(code.messages), code.n_blocks))
    for message, blocks in parts.items():
        rows[message, list(blocks)] = code.encoding_matrix[message, list(blocks)]
    decodable, decoding = added(code.decoder(), parts)
    best = np.linalg.lstsq(rows.T, np.ones(code.n_blocks), rcond=1e-10)[0]
    missed = decoding.weights @ rows - 1.0
    assert_allclose(np.linalg.norm(missed), np.linalg.norm(best @ rows - 1.0), atol=1e-7)
    assert_allclose(decoding.residual, abs(missed).max(), atol=1e-9)
    assert decodable == (decoding.residual < 1e-7)
    assert decoding.covered is not None
    assert_allclose(decoding.covered, missed + 1.0, atol=1e-9)
    assert not decoding.weights[[m for m in range(len(rows)) if m not in parts]].any()


@given(given=arrivals())
@settings(max_examples=40, deadline=None)
def test_plain_decoding_ignores_what_is_not_complete(
    given: tuple[CooperativeRepetition, dict[int, tuple[int, ...]]],
) -> None:
    code, parts = given
    _, decoding = added(replace(code, complete_only=True).decoder(), parts)
    assert not decoding.weights.any()


@given(given=arrivals())
@settings(max_examples=80, deadline=None)
def test_single_blocks_are_those_that_can_be_told_from_all_others(
    given: tuple[CooperativeRepetition, dict[int, tuple[int, ...]]],
) -> None:
    code, parts = given
    rows = np.zeros((len(code.messages), code.n_blocks))
    for message, blocks in parts.items():
        rows[message, list(blocks)] = code.encoding_matrix[message, list(blocks)]
    decodable, decoding = added(replace(code, approximation="blocks").decoder(), parts)
    assert decoding.covered is not None
    assert_allclose(decoding.weights @ rows, decoding.covered, atol=1e-8)
    if decodable:
        assert_allclose(decoding.covered, 1.0, atol=1e-8)
        return
    alone = np.eye(code.n_blocks)
    told = np.linalg.lstsq(rows.T, alone, rcond=1e-10)[0]
    assert decoding.covered.tolist() == (abs(rows.T @ told - alone).max(axis=0) < 1e-7).tolist()
    assert decoding.used.any() == decoding.covered.any()


@pytest.mark.parametrize(("s", "published"), [(3, 0.530), (7, 0.877)])
def test_one_transmission_is_enough_as_often_as_the_paper_says(s: int, published: float) -> None:
    code, p, n_rounds = CooperativeRepetition(10, s, 1, complete_only=True), 0.1, 4000
    exactly = float(binom.sf(10 - s - 1, 10, (1 - p) ** (s + 1)))
    assert exactly == pytest.approx(published, abs=5e-4)
    links, n_done = LossyLinks(p), 0
    blocks = [list(message.blocks) for message in code.messages]
    for round_ in range(n_rounds):
        received, uploaded = links.received(round_, 0, 10), links.uploaded(round_, 0, 10)
        complete = [uploaded[j] and received[j, blocks[j]].all() for j in range(10)]
        n_done += code.can_decode(np.array(complete))
    within = 4 * (exactly * (1 - exactly) / n_rounds) ** 0.5
    assert n_done / n_rounds == pytest.approx(exactly, abs=within)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n_workers": 0}, "n_workers"),
        ({"n_neighbours": 4}, r"\[0, n_workers\)"),
        ({"n_transmissions": 0}, "n_transmissions"),
        ({"complete_only": 1}, "complete_only"),
        ({"approximation": "block"}, "must be 'closest' or 'blocks'"),
        ({"approximation": "blocks", "complete_only": True}, "Use complete_only=False"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CooperativeRepetition(**{"n_workers": 4, "n_neighbours": 1, **arguments})  # type: ignore[arg-type]


def test_a_code_that_would_decode_inaccurately_is_refused() -> None:
    with pytest.raises(ValueError, match="Here fewer n_neighbours help"):
        CooperativeRepetition(1000, 30, n_transmissions=1)


@pytest.mark.parametrize("probability", [-0.1, 1.1, True, float("nan"), "1"])
def test_links_lose_with_a_probability(probability: float) -> None:
    with pytest.raises(ValueError, match=r"must be a float in the range \[0, 1\]"):
        LossyLinks(probability)
    with pytest.raises(ValueError, match="'uploads' of LossyLinks"):
        LossyLinks(0.5, uploads=probability)


def test_links_lose_the_same_whenever_asked_and_other_things_in_each_transmission() -> None:
    links = LossyLinks(0.5, uploads=0.0, seed=3)
    one, same, other = (links.received(2, t, 9) for t in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()
    assert one.diagonal().all()
    assert links.uploaded(2, 0, 9).all()
    assert not LossyLinks(0.0, uploads=1.0).uploaded(0, 0, 9).any()
