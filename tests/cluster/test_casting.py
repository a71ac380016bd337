"""Who plays which role where there are fewer workers than roles: decisions."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from code_lists import FEW
from dask_gradcode.cluster.placement.casting import MOST, cast, n_dispensable, roles_each
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    Uncoded,
)


def workers(n: int, n_hosts: int = 1, n_zones: int = 1) -> dict[str, Any]:
    """Return what a scheduler says of workers on hosts in turn, and these in zones in turn."""
    return {
        f"tcp://{i:03d}": {
            "host": f"host {i % n_hosts}",
            "resources": {f"zone-{i % n_hosts % n_zones}": 1.0} if n_zones > 1 else {},
        }
        for i in range(n)
    }


@given(code=st.sampled_from(FEW), data=st.data())
def test_each_plays_as_few_roles_as_can_be_and_keeps_what_it_has(
    code: GradientCode, data: st.DataObject
) -> None:
    n = code.n_workers
    known = workers(data.draw(st.integers(roles_each(code, MOST), n + 2)), n_hosts=2)
    addresses = data.draw(st.permutations(sorted(known)))
    slots = data.draw(st.permutations([a for a in addresses for _ in range(MOST)]))
    some = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=len(slots)))
    kept = dict(zip(some, slots, strict=False))
    seats = cast(code, addresses, known, kept)
    assert len(seats) == n
    assert all(seats[role] == address for role, address in kept.items())
    counted = Counter(seats)
    assert max(counted.values()) <= MOST
    doubled = [a for a, n_roles in counted.items() if n_roles > 1]
    if len(counted) < len(known):  # nobody was left out who could have had a role of its own
        assert all(Counter(kept.values())[a] > 1 for a in doubled)
    if not kept and n <= len(known):
        assert seats == addresses[:n]


@given(code=st.sampled_from(FEW), data=st.data())
def test_how_many_may_be_silent_is_what_trying_all_of_them_says(
    code: GradientCode, data: st.DataObject
) -> None:
    n = code.n_workers
    seats = [f"tcp://{data.draw(st.integers(0, n - 1))}" for _ in range(n)]
    found = n_dispensable(code, seats)
    there = sorted(set(seats))

    def can_do_without(silent: tuple[str, ...]) -> bool:
        rest = [role for role, address in enumerate(seats) if address not in silent]
        return code.can_decode(code.available(rest))

    assert all(map(can_do_without, combinations(there, found)))
    if found < min(code.n_stragglers, len(there)):
        assert not all(map(can_do_without, combinations(there, found + 1)))


@pytest.mark.parametrize(
    ("code", "n", "n_silent"),
    [
        (FractionalRepetition(40, 1), 37, 1),
        (FractionalRepetition(40, 1), 20, 1),
        (FractionalRepetition(39, 2), 37, 2),
        (DeclusteredRepetition(40, 1), 37, 1),
        (DeclusteredRepetition(40, 2), 37, 2),
        (CyclicRepetition(40, 1), 37, 0),
        (CyclicRepetition(40, 3), 37, 1),
        (Uncoded(40), 37, 0),
    ],
)
def test_with_37_of_40_there_another_one_may_go(code: GradientCode, n: int, n_silent: int) -> None:
    known = workers(n)
    assert n_dispensable(code, cast(code, sorted(known), known)) == n_silent


def test_roles_share_a_worker_in_another_zone_than_their_blocks_are_in() -> None:
    code, known = FractionalRepetition(8, 1), workers(6, n_hosts=6, n_zones=2)
    addresses = sorted(known)  # zones in turn
    seats = cast(code, addresses, known)
    zone = {address: next(iter(worker["resources"])) for address, worker in known.items()}
    for holders in code.holders:
        assert len({zone[seats[role]] for role in holders}) == 2
