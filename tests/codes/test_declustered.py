"""Where the parts of shares lie, whom the sum can do without, and what bits it has."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dask_gradcode.codes import DeclusteredRepetition
from dask_gradcode.codes.forest import Forest, above, below, leaves
from dask_gradcode.typing import Part, Payload, Vector


def spreads(n_workers: int, n_stragglers: int, most: int = 8) -> list[int | str]:
    """Every spread that there can be, up to some number."""
    found: list[int | str] = [1 << i for i in range(most.bit_length())]
    return [*found, "group"] if n_workers % (n_stragglers + 1) == 0 else found


SMALL = [
    DeclusteredRepetition(n, s, spread, n_leaves=1 if spread == "group" else int(spread))
    for n in range(1, 9)
    for s in range(min(4, n))
    for spread in spreads(n, s)
]


def test_any_stragglers_leave_every_block_to_somebody() -> None:
    for code in SMALL:
        for lost in combinations(range(code.n_workers), code.n_stragglers):
            assert all(not {*lost} >= {*holders} for holders in code.holders), (code, lost)
            there = [role for role in range(code.n_workers) if role not in lost]
            assert code.can_decode(code.available(there)), (code, lost)


def test_one_straggler_more_is_fatal_if_and_only_if_it_leaves_a_block_to_nobody() -> None:
    for code in (code for code in SMALL if code.n_workers <= 6):
        for lost in combinations(range(code.n_workers), code.n_stragglers + 1):
            there = [role for role in range(code.n_workers) if role not in lost]
            fatal = any({*lost} >= {*holders} for holders in code.holders)
            assert code.can_decode(code.available(there)) == (not fatal), (code, lost)


def test_replicas_lie_on_distinct_workers_and_everybody_holds_equally_much() -> None:
    for n in range(1, 41):
        for s in range(min(6, n)):
            for spread in spreads(n, s, most=4):
                code = DeclusteredRepetition(n, s, spread, n_leaves=4)
                assert {len({*holders}) for holders in code.holders} == {s + 1}, code
                assert {len(code.blocks_of(i)) for i in range(n)} == {4 * (s + 1)}, code
                assert all(i in code.holders[4 * i + leaf] for i in range(n) for leaf in range(4))


def test_the_parts_of_a_share_lie_as_far_apart_as_there_are_workers() -> None:
    for n in range(2, 20):
        for s in range(1, min(4, n)):
            for spread in (1, 2, 4, 8):
                code = DeclusteredRepetition(n, s, spread)
                helpers = {role for block in range(8) for role in code.holders[block]} - {0}
                assert len(helpers) == min(spread * s, n - 1), code


def test_a_group_holds_its_shares_whole() -> None:
    code = DeclusteredRepetition(6, 2, "group", n_leaves=4)
    assert {code.holders[block] for block in range(12)} == {(0, 1, 2)}
    assert {code.holders[block] for block in range(12, 24)} == {(3, 4, 5)}
    assert code.senders(code.first(4)[0]) == (3, 4, 5)


def test_everybody_is_first_asked_for_all_of_its_own_share() -> None:
    code = DeclusteredRepetition(5, 2, n_leaves=4)
    for role in range(5):
        (root,) = code.first(role)
        assert code.messages[root].blocks == tuple(range(4 * role, 4 * role + 4))
        assert code.parent(root) is None


def test_a_node_is_the_sum_of_its_children_and_its_family_is_known_both_ways() -> None:
    code = DeclusteredRepetition(3, 1, n_leaves=8)
    for index, message in enumerate(code.messages):
        children = code.children(index)
        assert len(children) == (0 if len(message.blocks) == 1 else 2)
        if children:
            parts = [code.messages[child].blocks for child in children]
            assert parts[0] + parts[1] == message.blocks
        assert [code.parent(child) for child in children] == [index] * len(children)
        assert index in above(code, index)
        assert {*below(code, index)} == {
            other for other in range(len(code.messages)) if index in [*above(code, other)][1:]
        }
        found = [code.messages[leaf].blocks for leaf in leaves(code, index)]
        assert tuple(block for blocks in found for block in blocks) == message.blocks


def test_messages_are_a_sequence() -> None:
    code = DeclusteredRepetition(3, 1, n_leaves=4)
    assert [*code.messages] == [code.messages[i] for i in range(21)]
    assert code.messages[-1] == code.messages[20]
    assert code.messages[2:5] == tuple(code.messages[i] for i in (2, 3, 4))
    with pytest.raises(IndexError):
        code.messages[21]


# ---- bits


CODES = [
    DeclusteredRepetition(3, 1, n_leaves=8),
    DeclusteredRepetition(4, 1, "group", n_leaves=4),
    DeclusteredRepetition(5, 2, n_leaves=2),
]


def wild_numbers(code: DeclusteredRepetition, seed: int) -> dict[int, Vector]:
    """Payloads of all messages, as workers add them up, of numbers whose sums depend on order."""
    rng = np.random.default_rng(seed)
    payloads: dict[int, Vector] = {}
    for message in reversed(range(len(code.messages))):  # children come after their parents
        children = code.children(message)
        payloads[message] = (
            payloads[children[0]] + payloads[children[1]]
            if children
            else rng.standard_normal(3) * 10.0 ** rng.integers(-8, 9, 3)
        )
    return payloads


@st.composite
def arrivals(draw: st.DrawFn, code: DeclusteredRepetition) -> list[int]:
    """Messages that make up all shares, in any order, with others that say the same again."""

    def cover(message: int) -> list[int]:
        children = code.children(message)
        if not children or draw(st.booleans()):
            return [message]
        return [part for child in children for part in cover(child)]

    roots = [message for role in range(code.n_workers) for message in code.first(role)]
    needed = [message for root in roots for message in cover(root)]
    more = draw(st.lists(st.integers(0, len(code.messages) - 1), max_size=10))
    return draw(st.permutations([*needed, *more]))


@given(data=st.data(), code=st.sampled_from(CODES), seed=st.integers(0, 99), in_parts=st.booleans())
def test_whatever_has_come_the_bits_of_the_sum_are_equal(
    data: st.DataObject, code: DeclusteredRepetition, seed: int, in_parts: bool
) -> None:
    payloads = wild_numbers(code, seed)
    roots = [message for role in range(code.n_workers) for message in code.first(role)]
    whole = np.zeros(3)
    for root in roots:
        whole = whole + payloads[root]
    decoder, total, came = code.decoder(), code.sum(), dict[int, Payload]()
    for message in data.draw(arrivals(code)):
        if message in came:
            continue
        sent: Payload = payloads[message]
        if in_parts:
            sent = Part(payloads[message], np.arange(3), 3)
        total.add(message, sent)
        came[message] = sent
        if decoder.add(message):
            break
    decoding = decoder.decode()
    assert decoding.residual == 0.0
    assert decoding.amplification == 1.0
    assert_array_equal(decoding.weights @ code.encoding_matrix, np.ones(code.n_blocks))
    assert_array_equal(total.total(decoding), whole)
    assert_array_equal(code.combine(decoding, came), whole)
    for message, payload in payloads.items():  # what came is as it was
        assert_array_equal(getattr(came.get(message, payload), "values", payload), payload)


@given(data=st.data(), code=st.sampled_from(CODES), seed=st.integers(0, 99))
def test_a_part_of_the_sum_does_not_depend_on_the_order_either(
    data: st.DataObject, code: DeclusteredRepetition, seed: int
) -> None:
    payloads = wild_numbers(code, seed)
    some = st.lists(st.integers(0, len(code.messages) - 1), min_size=1, max_size=12, unique=True)
    came = data.draw(some)
    totals = []
    for order in (came, data.draw(st.permutations(came))):
        decoder, total = code.decoder(), code.sum()
        for message in order:
            decoder.add(message)
            total.add(message, payloads[message])
        totals.append(total.total(decoder.decode()))
        blocks = {block for message in came for block in code.messages[message].blocks}
        covered = decoder.decode().weights @ code.encoding_matrix
        assert {*np.flatnonzero(covered).tolist()} == blocks
        assert covered.max() == 1.0
    assert_array_equal(totals[0], totals[1])


def test_a_forest_says_what_is_complete_and_takes_nothing_twice() -> None:
    forest = Forest(DeclusteredRepetition(2, 1, n_leaves=4), tuple.__add__)
    assert forest.put(1, ("left",)) == 1
    assert forest.put(3, ("twice",)) is None
    assert forest.put(1, ("twice",)) is None
    assert forest.put(5, ("c",)) == 5
    assert forest.put(2, ("right",)) == 0  # what came of a part of it gives way
    assert forest.sums == {0: ("left", "right")}
    assert forest.put(6, ("twice",)) is None


def test_a_forest_adds_up_to_its_top() -> None:
    forest = Forest(DeclusteredRepetition(2, 1, n_leaves=4), tuple.__add__, top=2)
    assert [forest.put(message, (message,)) for message in (1, 6, 5)] == [1, 6, 2]
    assert forest.sums == {1: (1,), 2: (5, 6)}


# ---- large and wrong ones


def test_of_a_large_code_nothing_is_made_that_is_not_asked_for() -> None:
    code = DeclusteredRepetition(1000, 1)
    assert len(code.messages) == 15_000
    assert code.messages[14_985].blocks == tuple(range(7992, 8000))
    decoder = code.decoder()
    assert [decoder.add(code.first(role)[0]) for role in range(1000)] == [False] * 999 + [True]
    assert {"encoding_matrix", "judge", "messages_of", "holders"}.isdisjoint(vars(code))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"n_leaves": 0}, "n_leaves"),
    ({"n_leaves": 6}, "must be a power of two. Got n_leaves=6"),
    ({"n_leaves": 2.0}, "n_leaves"),
    ({"spread": 0}, "spread"),
    ({"spread": 3}, 'must be a power of two or "group". Got spread=3'),
    ({"spread": 16}, r"\[1, n_leaves=8\]"),
    ({"spread": "ring"}, "spread"),
    ({"spread": True}, "spread"),
    ({"n_workers": 5, "spread": "group"}, "Use 4 or 6 workers, or a number as spread"),
    ({"n_stragglers": 4}, "n_stragglers"),
    ({"n_workers": 0, "n_stragglers": 0}, "n_workers"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD)
def test_what_makes_no_code_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DeclusteredRepetition(**{"n_workers": 4, "n_stragglers": 1, **arguments})


def test_the_spread_is_four_unless_there_are_fewer_leaves() -> None:
    assert [DeclusteredRepetition(9, 1, n_leaves=q).spread for q in (1, 2, 4, 8)] == [1, 2, 4, 4]
