"""Who counts as frozen: a rule of heartbeats alone, tried without a cluster."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dask_gradcode.cluster.client.pulse import Pulse

LIMIT = 5.0
GAPS = st.floats(0.1, 2.0)


def test_a_worker_is_silent_for_as_long_as_others_are_heard() -> None:
    pulse = Pulse()
    for tenth in range(101):
        pulse.look({"awake": tenth / 10, "stopped": min(tenth / 10, 2.0)}, LIMIT)
    assert pulse.silence("awake") == 0.0
    assert round(pulse.silence("stopped"), 6) == 8.0


def test_it_is_counted_from_the_first_look() -> None:
    pulse = Pulse()
    pulse.look({"awake": 1000.0, "stopped": 3.0}, LIMIT)
    assert pulse.silence("stopped") == pulse.silence("unknown") == 0.0


def test_a_worker_that_is_heard_again_or_leaves_is_not_silent() -> None:
    pulse = Pulse()
    for now in range(10):
        pulse.look({"awake": now, "stopped": 0.0}, LIMIT)
    assert pulse.silence("stopped") > LIMIT
    pulse.look({"awake": 10.0, "stopped": 10.0}, LIMIT)
    assert pulse.silence("stopped") == 0.0
    pulse.look({"awake": 11.0}, LIMIT)
    assert pulse.silence("stopped") == 0.0


def test_an_empty_cluster_and_one_that_comes_anew_are_looked_at() -> None:
    pulse = Pulse()
    pulse.look({}, LIMIT)
    pulse.look({"first": 1.0}, LIMIT)
    pulse.look({}, LIMIT)
    pulse.look({"second": 90.0}, LIMIT)
    assert pulse.silence("second") == 0.0


@given(
    n_looks=st.integers(1, 200),
    delays=st.lists(st.floats(0.0, 0.45 * LIMIT), min_size=2, max_size=6),
    before=st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6),
)
def test_a_pause_of_all_makes_nobody_frozen_however_they_wake(
    n_looks: int, delays: list[float], before: list[float]
) -> None:
    """Their last heartbeats may be a second apart, and so may their first ones be afterwards."""
    pulse, names = Pulse(), [str(i) for i in range(len(delays))]
    last = {name: 100.0 + before[i] for i, name in enumerate(names)}
    pulse.look(dict.fromkeys(names, 99.0), LIMIT)
    for _ in range(n_looks):  # nothing changes
        pulse.look(last, LIMIT)
        assert max(map(pulse.silence, names)) < LIMIT
    woken = 101.0 + n_looks
    for half in range(10):
        now = woken + 0.5 * half
        heard = {
            name: now if now >= woken + delay else last[name]
            for name, delay in zip(names, delays, strict=True)
        }
        pulse.look(heard, LIMIT)
        assert max(map(pulse.silence, names)) < LIMIT


@given(gaps=st.lists(GAPS, min_size=60, max_size=60))
def test_a_stopped_worker_becomes_frozen_however_often_one_looks(gaps: list[float]) -> None:
    pulse, now = Pulse(), 0.0
    pulse.look({"awake": now, "stopped": now}, LIMIT)
    for gap in gaps:
        now += gap
        pulse.look({"awake": now, "stopped": 0.0}, LIMIT)
        assert pulse.silence("stopped") <= now + 1e-9
        if now > 2 * LIMIT:
            assert pulse.silence("stopped") > LIMIT
