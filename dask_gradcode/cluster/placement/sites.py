"""What fails together: workers on one host, and hosts in one zone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Site", "in_turn", "site_of", "sites_of", "who_fails_together"]

_ZONE = re.compile(r"zone[-=:][A-Za-z0-9-]+")

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """Where a worker is. Of a worker that does not say so the zone is empty."""

    zone: str
    host: str


def site_of(worker: Mapping[str, Any]) -> Site:
    """Return where a worker is, by what the scheduler says of it.

    Its zone is a resource such as ``zone-eu-west-1a`` (``dask worker --resources
    "zone-eu-west-1a=1"``), or else such a part of its name, which ends at the first character that
    is no letter, digit or hyphen (``--name zone-eu-west-1a/17``).

    Parameters
    ----------
    worker : mapping
        Its ``host``, and perhaps its ``name`` and ``resources``.

    Examples
    --------
    >>> site_of({"host": "10.0.0.1", "resources": {"GPU": 1.0, "zone-a": 1.0}})
    Site(zone='zone-a', host='10.0.0.1')
    >>> site_of({"host": "10.0.0.1", "name": "zone-b/17"})
    Site(zone='zone-b', host='10.0.0.1')
    >>> site_of({"host": "10.0.0.1", "name": 17})
    Site(zone='', host='10.0.0.1')
    """
    resources = sorted(filter(_ZONE.fullmatch, worker.get("resources") or ()))
    in_name = _ZONE.search(str(worker.get("name", "")))
    zone = resources[0] if resources else in_name[0] if in_name else ""
    return Site(zone, worker["host"])


def sites_of(workers: Mapping[str, Mapping[str, Any]]) -> dict[str, Site]:
    """Return where workers are, by address."""
    return {address: site_of(worker) for address, worker in workers.items()}


def in_turn(sites: Mapping[str, Site]) -> list[str]:
    """Return the workers' addresses, zones in turn, and hosts in turn in each zone.

    Codes give the replicas of a block to neighbouring roles, or to some at a distance that has no
    divisor in common with the number of roles: where zones have equally many workers, and hosts in
    them, replicas are in other zones, or else on other hosts.

    Examples
    --------
    >>> a, b = Site("zone-a", "1"), Site("zone-b", "2")
    >>> in_turn({"tcp://1": a, "tcp://2": a, "tcp://3": b, "tcp://4": b})
    ['tcp://1', 'tcp://3', 'tcp://2', 'tcp://4']
    """
    zones: dict[str, dict[str, list[str]]] = {}
    for address, site in sorted(sites.items(), key=lambda item: item[0]):
        zones.setdefault(site.zone, {}).setdefault(site.host, []).append(address)
    return _alternating([_alternating(list(hosts.values())) for hosts in zones.values()])


def _alternating(rows: Sequence[Sequence[T]]) -> list[T]:
    """Return the first of each row, then the second of each, and so on."""
    longest = max(map(len, rows), default=0)
    return [row[i] for i in range(longest) for row in rows if i < len(row)]


def who_fails_together(sites: Mapping[str, Site]) -> dict[str, str]:
    """Return by address what a worker fails together with: its zone if there are several.

    Otherwise its host. A code is chosen so that few blocks lie in one of these alone.
    """
    several = len({site.zone for site in sites.values()}) > 1
    return {address: site.zone if several else site.host for address, site in sites.items()}
