"""Replicas in other zones and on other hosts; and which worker takes a role best: decisions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from code_lists import FEW
from dask_gradcode.cluster.placement.choice import Choice
from dask_gradcode.cluster.placement.codes import choose_code
from dask_gradcode.cluster.placement.sites import (
    Site,
    in_turn,
    site_of,
    sites_of,
    who_fails_together,
)
from dask_gradcode.codes import FractionalRepetition, GradientCode

SITES = st.builds(Site, st.sampled_from(["", "zone-a", "zone-b", "zone-c"]), st.sampled_from("123"))


@pytest.mark.parametrize(
    ("worker", "zone"),
    [
        ({"resources": {"zone-a": 1.0}}, "zone-a"),
        (
            {"resources": {"GPU": 1.0, "zone=eu-west-1a": 1.0}, "name": "zone-x/1"},
            "zone=eu-west-1a",
        ),
        ({"name": "zone-eu-west-1a/17"}, "zone-eu-west-1a"),
        ({"name": "spot.zone:b_4"}, "zone:b"),
        ({"name": 17}, ""),
        ({"name": "ozone layer", "resources": {"zones": 1.0}}, ""),
        ({}, ""),
    ],
)
def test_a_zone_is_what_a_resource_or_else_the_name_says(worker: dict[str, Any], zone: str) -> None:
    assert site_of({"host": "h", **worker}) == Site(zone, "h")


@given(st.lists(SITES, max_size=12))
def test_everybody_has_a_turn_and_neighbours_are_apart_where_zones_are_equal(
    sites: list[Site],
) -> None:
    by_address = {f"tcp://{i}": site for i, site in enumerate(sites)}
    order = in_turn(by_address)
    assert sorted(order) == sorted(by_address)
    zones = [by_address[address].zone for address in order]
    sizes = Counter(zones)
    if len(sizes) > 1 and len(set(sizes.values())) == 1:
        assert all(a != b for a, b in zip(zones, [*zones[1:], zones[0]], strict=True))


@given(n_zones=st.integers(2, 4), n_each=st.integers(1, 4), n_stragglers=st.integers(1, 2))
def test_no_zone_has_a_block_alone(n_zones: int, n_each: int, n_stragglers: int) -> None:
    n = n_zones * n_each
    if n <= n_stragglers or n % (n_stragglers + 1):
        return
    workers = {
        f"tcp://{i}": {"host": f"host {i // 2}", "resources": {f"zone-{i % n_zones}": 1.0}}
        for i in range(n)
    }
    sites = sites_of(workers)
    together = [who_fails_together(sites)[address] for address in in_turn(sites)]
    for name in ("declustered", "fractional", "cyclic"):
        code = choose_code(name, None, n_stragglers, None, together)
        for holders in code.holders:
            assert len({together[role] for role in holders}) > 1


def test_without_several_zones_hosts_fail_together() -> None:
    sites = {"a": Site("zone-a", "1"), "b": Site("zone-a", "2")}
    assert who_fails_together(sites) == {"a": "1", "b": "2"}
    sites["c"] = Site("zone-b", "3")
    assert who_fails_together(sites) == {"a": "zone-a", "b": "zone-a", "c": "zone-b"}


# ---------------------------------------------------------------- choice


def worker(host: str = "1", zone: str = "", limit: int = 0) -> dict[str, Any]:
    return {"host": host, "resources": {zone: 1.0} if zone else {}, "memory_limit": limit}


def test_a_role_goes_to_another_zone_than_its_blocks_are_in() -> None:
    code = FractionalRepetition(4, 1)  # 0 and 1 hold the same blocks
    able = {
        "near": worker("1", "zone-a"),
        "far": worker("2", "zone-b"),
        "twin": worker("3", "zone-a"),
    }
    assert Choice(code, {1: "twin"}, able, {}).own(0) == "far"
    assert Choice(code, {1: "twin"}, able, {}).own(0, avoided=["far"]) == "near"
    assert Choice(code, {0: "near", 1: "twin", 2: "far"}, able, {}).own(3) is None


def test_a_role_shares_a_worker_only_where_there_is_room_for_both() -> None:
    code, where = FractionalRepetition(4, 1), {1: "a", 2: "b", 3: "c"}
    nbytes = dict.fromkeys(range(4), 40)
    able = {"a": worker(limit=1000), "b": worker(limit=100), "c": worker(limit=150)}
    assert Choice(code, where, able, nbytes).shared(0) == "c"  # 80 of 150 bytes
    assert Choice(code, where, able, {}).shared(0) == "b"
    able["c"]["memory_limit"] = 100
    assert Choice(code, where, able, nbytes).shared(0) is None  # "a" has all its blocks already


def test_who_can_take_nothing_gives_to_one_who_has_nothing() -> None:
    where = {0: "a", 1: "b", 2: "c", 3: "a"}  # a has no memory left, say
    able = {address: worker() for address in "bcd"}
    assert Choice(FractionalRepetition(4, 1), where, able, {}).evened({0, 1, 2, 3}) == (0, "d")
    assert Choice(FractionalRepetition(4, 1), where, {}, {}).evened({0, 1, 2, 3}) is None


@given(code=st.sampled_from(FEW), data=st.data())
def test_evening_out_ends_with_nobody_two_roles_ahead(
    code: GradientCode, data: st.DataObject
) -> None:
    addresses = [f"tcp://{i}" for i in range(data.draw(st.integers(1, 6)))]
    draws = st.sampled_from(addresses)
    where = {role: data.draw(draws) for role in range(code.n_workers)}
    sites = {a: worker(data.draw(st.sampled_from("12"))) for a in addresses}
    choice, movable, moved = Choice(code, where, sites, {}), set(where), list[int]()
    while (pair := choice.evened(movable)) is not None:
        role, taker = pair
        assert where[role] != taker
        choice.put(role, taker)
        where[role] = taker
        movable.discard(role)
        moved.append(role)
    assert len(moved) == len(set(moved))
    loads = Counter(dict.fromkeys(addresses, 0))
    loads.update(where.values())
    uneven = max(loads.values()) - min(loads.values()) > 1
    for role in movable if uneven else ():  # only what would be of no use there has stayed
        fullest = loads[where[role]] == max(loads.values())
        takers = [a for a in addresses if loads[a] == min(loads.values())]
        blocks = {
            a: {b for other, at in where.items() if at == a for b in code.blocks_of(other)}
            for a in takers
        }
        assert not fullest or all(
            blocks[a] and blocks[a].issuperset(code.blocks_of(role)) for a in takers
        )
