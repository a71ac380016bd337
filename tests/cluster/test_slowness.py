"""Which roles are slow for long: a rule on records written down by hand."""

from __future__ import annotations

from typing import Any

import pytest

from dask_gradcode.cluster.placement.slowness import EVERY, IN_A_ROW, Slowness
from histories import BLANK, record


class Looks:
    """Looks at rounds, one as soon after the other as counts."""

    def __init__(self) -> None:
        self.slowness, self._now = Slowness(), 0.0

    def see(
        self, arrived_at: list[float], after: float = EVERY, asked: Any = None, **changes: Any
    ) -> set[int]:
        self._now += after
        answered = [at for at in arrived_at if at == at]
        seen = record(0, arrived_at, **{"seconds": max(answered), **changes})
        begun = dict.fromkeys(range(4), 7.0) if asked is None else asked
        self.slowness.look(seen, lambda: begun, self._now)
        return set(self.slowness.slow)


@pytest.fixture
def looks() -> Looks:
    return Looks()


EVEN, ONE_SLOW = [1.0, 1.1, 0.9, 1.9], [1.0, 1.1, 2.1, 0.9]


def test_who_takes_twice_as_long_in_five_rounds_in_a_row_is_slow_until_it_does_not(
    looks: Looks,
) -> None:
    for _ in range(IN_A_ROW - 1):
        assert not looks.see(ONE_SLOW)
    assert not looks.see(EVEN)
    for _ in range(IN_A_ROW - 1):
        assert not looks.see(ONE_SLOW)
    assert looks.see(ONE_SLOW) == {2}
    assert looks.slowness.slow == {2: "it takes 2.1 times as long as others"}
    assert looks.see(ONE_SLOW) == {2}
    assert not looks.see(EVEN)


def test_many_rounds_in_a_short_time_say_no_more_than_one(looks: Looks) -> None:
    assert not any(looks.see(ONE_SLOW, after=0.001) for _ in range(1000))


def test_milliseconds_are_not_worth_while(looks: Looks) -> None:
    assert not any(looks.see([0.002, 0.002, 0.009, 0.002]) for _ in range(20))


def test_who_was_asked_later_had_less_time(looks: Looks) -> None:
    asked = {0: 7.0, 1: 7.0, 2: 8.1, 3: 7.0}
    assert not any(looks.see(ONE_SLOW, asked=asked) for _ in range(20))


def test_of_the_silent_those_are_slow_who_had_time_enough_or_are_late(looks: Looks) -> None:
    silent = [1.0, 1.1, BLANK, 0.9]
    assert not any(looks.see(silent) for _ in range(20))
    seen = [looks.see(silent, seconds=2.5) for _ in range(IN_A_ROW)]
    assert seen == [set()] * (IN_A_ROW - 1) + [{2}]
    looks = Looks()  # it is spared, as it is late
    others = {0: 7.0, 1: 7.0, 3: 7.0}
    seen = [looks.see(silent, asked=others, late=(2,)) for _ in range(IN_A_ROW)]
    assert seen == [set()] * (IN_A_ROW - 1) + [{2}]


@pytest.mark.parametrize("what", ["relocated", "restored", "lost"])
def test_what_is_known_of_one_worker_says_nothing_of_another(looks: Looks, what: str) -> None:
    for _ in range(IN_A_ROW):
        looks.see(ONE_SLOW)
    assert looks.see(ONE_SLOW) == {2}
    assert not looks.see(ONE_SLOW, after=0.0, **{what: (2,)})
