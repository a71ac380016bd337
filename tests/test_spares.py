"""Who is spared, and how soon a wrong guess is made good."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.rounds.spares import AT_ONCE, LEARN_EVERY, Spares, Turn
from histories import record

CODE = FractionalRepetition(4, 1)


def run(spares: Spares, used: list[int], roles: int = 4, seconds: float = 2.0) -> Turn:
    """Begin and end a round that was decoded from these roles."""
    turn = spares.begin(range(roles))
    arrived_at = np.full(roles, np.nan)
    arrived_at[used] = seconds
    spares.end(record(0, arrived_at.tolist(), seconds=seconds))
    return turn


def after_two_rounds(used: list[int], code: GradientCode = CODE) -> Spares:
    spares = Spares(code)
    for _ in range(2):
        run(spares, used)
    return spares


def test_at_first_all_are_asked_and_then_those_who_were_needed() -> None:
    spares = Spares(CODE)
    assert run(spares, [1, 2]) == Turn([0, 1, 2, 3])
    assert run(spares, [1, 2]) == Turn([1, 2, 0, 3], 2, AT_ONCE)
    assert run(spares, [1, 2]) == Turn([1, 2, 0, 3], 2, 2.0)


@pytest.mark.parametrize("slow", range(2))
def test_the_others_wait_as_long_as_rounds_last(slow: int) -> None:
    """The first round waits for connections, another one may have waited for workers to return."""
    spares = Spares(CODE)
    for number in range(2):
        run(spares, [0, 2], seconds=60.0 if number == slow else 1.0 + number)
    assert spares.begin(range(4)).wait <= 2.0


def test_a_wrong_guess_spares_nobody_for_16_rounds_and_twice_as_many_the_next_time() -> None:
    guess, other = [0, 2], [1, 2]
    spares = after_two_rounds(guess)
    for n_rounds in (16, 32, 64):
        assert run(spares, other).wait == 2.0  # who was needed had been spared
        turns = [run(spares, other) for _ in range(n_rounds)]
        assert max(turn.wait for turn in turns) == AT_ONCE
        guess, other = other, guess


def test_a_wrong_guess_is_forgotten_after_as_many_good_ones() -> None:
    spares = after_two_rounds([0, 2])
    run(spares, [1, 2])  # wrong
    for _ in range(16 + 40):
        run(spares, [1, 2])
    assert run(spares, [0, 2]).wait == 2.0  # wrong again, but long after
    turns = [run(spares, [0, 2]) for _ in range(16)]
    assert max(turn.wait for turn in turns) == AT_ONCE
    assert run(spares, [0, 2]).wait == 2.0


def test_where_a_rule_wants_more_than_is_needed_for_the_sum_nobody_is_spared() -> None:
    spares = after_two_rounds([0, 2])
    for n_rounds in (16, 32, 64):
        turn = spares.begin(range(4))
        assert turn.wait > AT_ONCE
        arrived_at = np.array([0.5, turn.wait + 0.5, 0.5, np.nan])  # enough after half a second
        spares.end(record(0, arrived_at.tolist(), used=arrived_at == 0.5, seconds=turn.wait + 0.5))
        turns = [run(spares, [0, 2]) for _ in range(n_rounds)]
        assert max(turn.wait for turn in turns) == AT_ONCE


def test_now_and_then_those_come_first_who_were_not_needed() -> None:
    spares = Spares(CODE)
    turns = [run(spares, [0, 2]) for _ in range(3 * LEARN_EVERY)]
    learning = [number for number, turn in enumerate(turns, 1) if turn == Turn([1, 3, 0, 2])]
    assert learning == [LEARN_EVERY, 2 * LEARN_EVERY, 3 * LEARN_EVERY]


def test_where_one_who_was_needed_is_gone_all_are_asked() -> None:
    spares = Spares(CODE)
    run(spares, [0, 2])
    assert spares.begin([1, 2, 3]) == Turn([1, 2, 3])


@pytest.mark.parametrize("code", [Uncoded(4), CyclicRepetition(4, 1)])
def test_it_holds_for_every_code(code: GradientCode) -> None:
    needed = list(range(code.n_workers - code.n_stragglers))
    spares = after_two_rounds(needed, code)
    turn = run(spares, needed)
    assert turn.n_likely == len(needed)
    assert_array_equal(turn.roles, range(4))
