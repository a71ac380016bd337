"""Rounds whose messages say which blocks are in them, and may be lost on their way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dask_gradcode.codes import CooperativeRepetition, Uncoded
from dask_gradcode.losses import Squared
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.rounds import (
    Absent,
    Arrived,
    Ask,
    Balancing,
    Deadline,
    Done,
    Everybody,
    Failed,
    Fastest,
    Lost,
    Patience,
    Ready,
    Round,
    Silent,
    Stuck,
    TooMuchLostError,
    UntilExact,
)
from dask_gradcode.simulation import (
    ExchangeObjective,
    blocks_recovered,
    simulate,
    transmissions_needed,
)
from dask_gradcode.stragglers import FixedDelay, LossyLinks
from dask_gradcode.work import Block

CODE = CooperativeRepetition(4, 2)
GRADIENTS = np.random.default_rng(0).normal(size=(4, 3))


def arrived(message: int, *blocks: int, code: CooperativeRepetition = CODE) -> Arrived:
    """A message as its worker sends it, with some of its blocks, or all if none are given."""
    sent = code.messages[message]
    terms = zip(sent.blocks, sent.coefficients, strict=True)
    terms = ((block, c) for block, c in terms if not blocks or block in blocks)
    payload = sum((c * GRADIENTS[block] for block, c in terms), np.zeros(3))
    [role] = code.senders(message)
    return Arrived(0, role, message, payload, blocks or None)


def begun(
    wait: UntilExact | Deadline | Fastest | None = None, recover: float = 0.0, **arguments: bool
) -> Round:
    code = CooperativeRepetition(4, 2, **arguments)  # type: ignore[arg-type]
    planner = (Balancing() if wait is None else Everybody()).start(code)
    round_ = Round(0, code, wait, planner, Patience(recover=recover))
    orders = round_.begin([], now=0.0)
    assert orders == [Ask(role, (role,)) for role in range(4)]
    return round_


def test_whole_messages_are_decoded_as_of_any_code() -> None:
    round_ = begun()
    assert round_.handle(arrived(3), now=0.1) == []
    assert round_.handle(arrived(0), now=0.2) == []
    assert round_.outcome == Done()
    assert_allclose(round_.result(), GRADIENTS.sum(axis=0))


def test_messages_without_some_blocks_are_used_for_what_they_are() -> None:
    round_ = begun()
    for message, blocks in ((0, (0, 1)), (1, (1, 2)), (2, (2, 3)), (3, (3,))):
        assert round_.outcome is None
        round_.handle(arrived(message, *blocks), now=0.1)
    assert round_.outcome == Done()
    assert_allclose(round_.result(), GRADIENTS.sum(axis=0))
    assert round_.record(0.0, 0.0).exact


def test_plain_decoding_waits_for_whole_ones_and_has_all_send_again() -> None:
    round_ = begun(complete_only=True)
    for message, blocks in ((0, (0, 1)), (1, (1, 2)), (2, (2, 3))):
        assert round_.handle(arrived(message, *blocks), now=0.1) == []
    orders = round_.handle(Absent(0, 3, 3), now=0.1)
    assert orders == [Ask(role, (4 + role,)) for role in range(4)]
    round_.handle(arrived(5), now=0.2)
    round_.handle(arrived(7), now=0.2)
    assert round_.outcome == Done()
    assert_allclose(round_.result(), GRADIENTS.sum(axis=0))
    assert round_.record(0.0, 0.0).absent == (3,)


def test_when_all_transmissions_have_lost_too_much_the_round_ends_at_once_and_says_so() -> None:
    round_ = begun(recover=60.0)
    for message in range(7):  # and one more would not be enough
        assert round_.outcome is None
        event = arrived(message) if message == 2 else Absent(0, message % 4, message)
        round_.handle(event, now=0.1)
    assert isinstance(round_.outcome, Stuck)
    text = str(TooMuchLostError.of(0, round_.state))
    assert "6 message(s) were lost on their way" in text
    assert repr(CODE) in text


def test_it_ends_as_soon_as_what_may_come_is_not_enough() -> None:
    round_ = begun(recover=60.0)
    for message in range(6):
        round_.handle(Absent(0, message % 4, message), now=0.1)
    assert round_.outcome is None  # two complete sums would do
    round_.handle(arrived(6, 2), now=0.1)
    assert isinstance(round_.outcome, Stuck)


def test_a_lost_worker_takes_its_block_with_it_and_is_waited_for() -> None:
    round_ = begun(recover=60.0)
    round_.handle(Lost(1, "it is dead"), now=0.1)
    for message, blocks in ((0, (0, 2)), (2, (0, 2, 3)), (3, (0, 3))):
        round_.handle(arrived(message, *blocks), now=0.2)
    assert round_.outcome is None
    assert round_.look_at == pytest.approx(60.1)
    orders = round_.handle(Ready(1), now=1.0)
    assert orders == [Ask(1, (1,))]
    round_.handle(arrived(1), now=1.1)
    assert round_.outcome == Done()
    assert_allclose(round_.result(), GRADIENTS.sum(axis=0))


def test_without_it_the_round_ends_after_so_long() -> None:
    round_ = begun(recover=60.0)
    round_.handle(Lost(1, "it is dead"), now=0.1)
    round_.handle(None, now=60.2)
    assert isinstance(round_.outcome, Stuck)


def test_a_frozen_worker_is_waited_for_as_long_since_others_wait_for_its_block() -> None:
    round_ = begun(recover=60.0)
    round_.handle(Silent(1, "it sends no heartbeat"), now=0.1)
    assert round_.outcome is None
    round_.handle(None, now=60.0)
    assert round_.outcome is None
    round_.handle(None, now=60.2)
    assert isinstance(round_.outcome, Stuck)
    assert 1 in round_.state.lost


def test_what_the_lost_worker_had_sent_to_others_is_enough() -> None:
    round_ = begun(recover=60.0)
    round_.handle(Lost(1, "it is dead"), now=0.1)
    round_.handle(arrived(0), now=0.2)
    round_.handle(arrived(3), now=0.2)
    assert round_.outcome == Done()


def test_an_error_on_the_only_holder_of_a_block_ends_the_round() -> None:
    round_ = begun(recover=60.0)
    round_.handle(Failed(0, 1, 1, ZeroDivisionError()), now=0.1)
    assert isinstance(round_.outcome, Stuck)


@pytest.mark.parametrize("wait", [Deadline(1.0), Fastest(2)])
def test_approximate_rules_scale_up_what_is_really_in_the_sum(wait: Deadline | Fastest) -> None:
    round_ = begun(wait)
    round_.handle(arrived(0, 0), now=0.1)
    round_.handle(arrived(1, 1), now=0.2)
    round_.handle(None, now=1.0)
    assert round_.outcome == Done()
    assert_allclose(round_.result(), 2 * (GRADIENTS[0] + GRADIENTS[1]))


def test_a_log_tells_which_blocks_came_and_is_run_again() -> None:
    round_ = begun()
    for event in (arrived(0, 0, 1), Absent(0, 1, 1), arrived(2, 2, 3), arrived(3, 3)):
        round_.handle(event, now=0.1)
    text = str(round_.log)
    assert "Arrived(round=0, role=0, message=0, blocks=(0, 1))" in text
    assert "Absent(round=0, role=1, message=1)" in text
    again = Round.replay(round_.log)
    assert again.state.parts == round_.state.parts
    assert again.state.absent == {1}
    assert again.outcome == round_.outcome
    assert [step.orders for step in again.log.steps] == [step.orders for step in round_.log.steps]


# ---- whole rounds, in this process


def blocks_of(n: int) -> dict[int, Block]:
    rng = np.random.default_rng(1)
    return {i: Block(rng.normal(i, 1.0, (5, 2)), rng.normal(size=5)) for i in range(n)}


@given(
    n=st.integers(1, 7),
    p=st.sampled_from([0.0, 0.1, 0.4, 0.8]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_rounds_over_lossy_links_are_exact_or_say_that_they_are_not(
    n: int, p: float, seed: int, data: st.DataObject
) -> None:
    s, t = data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, 3))
    code = CooperativeRepetition(n, s, t, complete_only=data.draw(st.booleans()))
    links, blocks, w = LossyLinks(p, seed=seed), blocks_of(n), np.array([0.5, -1.0])
    exact = InProcessObjective(Uncoded(n), blocks, Squared())(w)
    objective = ExchangeObjective(code, blocks, Squared(), links)
    for needed in transmissions_needed(code, links, 3).tolist():
        if not needed:
            with pytest.raises(TooMuchLostError):
                objective(w)
            continue
        seen = objective(w)
        assert seen.record.exact
        assert_allclose(seen.gradient, exact.gradient, rtol=1e-6, atol=1e-6)
        assert max(answer.message for answer in seen.record.answers) < needed * n


@given(
    n=st.integers(1, 7),
    p=st.sampled_from([0.1, 0.4, 0.6]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_where_too_much_is_lost_single_blocks_are_left_and_scaled_up(
    n: int, p: float, seed: int, data: st.DataObject
) -> None:
    s, t = data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, 3))
    code = CooperativeRepetition(n, s, t, approximation="blocks")
    links, blocks, w = LossyLinks(p, seed=seed), blocks_of(n), np.array([0.5, -1.0])
    alone = [
        InProcessObjective(Uncoded(1), {0: blocks[i]}, Squared())(w).gradient for i in range(n)
    ]
    objective = ExchangeObjective(code, blocks, Squared(), links, Deadline(1e9))
    for n_blocks in blocks_recovered(code, links, 3).tolist():
        if not n_blocks:
            with pytest.raises(TooMuchLostError):
                objective(w)
            continue
        seen = objective(w)
        assert seen.record.exact == (n_blocks == n)
        # the mean of so many blocks, whichever, times their number
        candidates = [
            sum(alone[i] for i in some) * n / n_blocks for some in combinations(range(n), n_blocks)
        ]
        assert min(np.abs(seen.gradient - one).max() for one in candidates) < 1e-6


def test_blocks_are_recovered_one_by_one_or_not_counted() -> None:
    with pytest.raises(ValueError, match="needs a code with approximation='blocks'"):
        blocks_recovered(CODE, LossyLinks(0.1))


def test_what_tells_no_block_is_waited_with_and_no_sum() -> None:
    code = CooperativeRepetition(4, 2, 1, approximation="blocks")
    for wait in (Deadline(1.0), Fastest(1)):
        round_ = Round(0, code, wait, Everybody().start(code))
        round_.begin([], now=0.0)
        round_.handle(arrived(0, 0, 1, code=code), now=0.1)  # of two blocks one sum
        round_.handle(None, now=1.0)
        assert round_.outcome is None
        round_.handle(arrived(1, 1, code=code), now=2.0)
        assert round_.outcome == Done()
        assert_allclose(round_.result(), 2 * (GRADIENTS[0] + GRADIENTS[1]))
        round_ = Round(0, code, wait, Everybody().start(code))
        round_.begin([], now=0.0)
        round_.handle(arrived(0, 0, 1, code=code), now=0.1)
        for role in (1, 2, 3):
            round_.handle(Absent(0, role, role), now=0.1)
        assert isinstance(round_.outcome, Stuck)


@pytest.mark.parametrize("complete_only", [False, True])
def test_a_fit_in_this_process_takes_the_code_as_any_other(complete_only: bool) -> None:
    code = CooperativeRepetition(5, 2, complete_only=complete_only)
    blocks, w = blocks_of(5), np.array([0.5, -1.0])
    exact = InProcessObjective(Uncoded(5), blocks, Squared())(w)
    assert_allclose(InProcessObjective(code, blocks, Squared())(w).gradient, exact.gradient)


def test_the_virtual_clock_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="ExchangeObjective"):
        simulate(CODE, FixedDelay(0.0))


def test_what_is_no_cooperative_code_and_no_links_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a CooperativeRepetition"):
        ExchangeObjective(Uncoded(2), blocks_of(2), Squared(), LossyLinks(0.1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be LossyLinks"):
        ExchangeObjective(CODE, blocks_of(4), Squared(), 0.1)  # type: ignore[arg-type]
