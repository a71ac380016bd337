"""Which worker plays which role at first, also where there are fewer workers than roles."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from dask_gradcode.cluster.placement.sites import Site, sites_of
from dask_gradcode.codes import GradientCode
from dask_gradcode.typing import Matrix

__all__ = ["MOST", "cast", "n_dispensable", "roles_each"]

MOST = 2
"""How many roles a worker plays at most when placing begins."""

_TRIES = 1000  # sets of workers that are looked at, of one size


def roles_each(code: GradientCode, n_workers: int) -> int:
    """Return how many roles a worker plays at most if these are shared out evenly."""
    return -(-code.n_workers // n_workers)


def cast(
    code: GradientCode,
    addresses: Sequence[str],
    workers: Mapping[str, Any],
    kept: Mapping[int, str] | None = None,
) -> list[str]:
    """Return the worker of each role: one without another role, as long as there is one.

    Of the roles that are left each worker takes one at most, so that as few copies of a block as
    can be are on one worker, then in one zone, then on one host.

    Parameters
    ----------
    code : GradientCode
        Says which role holds which blocks.
    addresses : sequence of str
        The workers, those that are preferred first; at least half as many as there are roles.
    workers : mapping of str to dict
        What the scheduler says of each worker.
    kept : mapping of int to str, optional
        By role the worker that has it already; two of a worker's at most.

    Examples
    --------
    Roles 0 and 1 hold the same blocks, and so do 2 and 3:

    >>> from dask_gradcode.codes import FractionalRepetition
    >>> workers = {address: {"host": address} for address in "abc"}
    >>> cast(FractionalRepetition(4, 1), ["a", "b", "c"], workers)
    ['a', 'b', 'c', 'a']
    """
    found = dict(kept or {})
    taken = set(found.values())
    free = [address for address in addresses if address not in taken]
    vacant = [role for role in range(code.n_workers) if role not in found]
    found |= zip(vacant, free, strict=False)
    rest = vacant[len(free) :]
    if rest:
        where = list(found.values())
        open_ = [address for address in addresses if where.count(address) < MOST]
        rows, columns = linear_sum_assignment(_copies(code, rest, found, open_, workers))
        found |= {rest[i]: open_[j] for i, j in zip(rows, columns, strict=True)}
    return [found[role] for role in range(code.n_workers)]


def _copies(
    code: GradientCode,
    roles: Sequence[int],
    where: Mapping[int, str],
    addresses: Sequence[str],
    workers: Mapping[str, Any],
) -> Matrix:
    """Return how many copies of its blocks each of some roles would meet at each address.

    Copies on the worker itself count as units; in its zone, and then on its host, as fractions.
    """
    others = list(where)
    common = (_held(code, roles) @ _held(code, others).T).toarray()
    known, unknown = sites_of(workers), Site("", "")  # a worker may have gone just now
    sites = {a: known.get(a, unknown) for a in (*addresses, *where.values())}
    at = [where[role] for role in others]
    zones = [sites[address].zone for address in at]
    hosts = [sites[address].host for address in at]

    def met(mine: Sequence[str], theirs: Sequence[str]) -> Matrix:
        found: Matrix = common @ np.equal.outer(np.array(theirs), np.array(mine)).astype(float)
        return found

    in_zone = met([sites[address].zone for address in addresses], zones)
    on_host = met([sites[address].host for address in addresses], hosts)
    fraction = 1.0 / (1.0 + common.sum(axis=1).max())  # of all copies, so that less than one
    found: Matrix = met(addresses, at) + fraction * (in_zone + fraction * on_host)
    return found


def _held(code: GradientCode, roles: Sequence[int]) -> csr_array:
    """Return which blocks some roles hold, of shape (n_roles, n_blocks)."""
    blocks = [code.blocks_of(role) for role in roles]
    starts = np.cumsum([0, *map(len, blocks)])
    columns = np.concatenate([*blocks, ()]).astype(int)
    return csr_array((np.ones(columns.size), columns, starts), shape=(len(roles), code.n_blocks))


def n_dispensable(code: GradientCode, seats: Sequence[str]) -> int:
    """Return how many workers may be silent, whichever they are, if each plays these roles.

    Where there are too many sets of workers to look at them all, it may be more.

    Parameters
    ----------
    code : GradientCode
        The code.
    seats : sequence of str
        The worker of each role.

    Examples
    --------
    >>> from dask_gradcode.codes import CyclicRepetition, FractionalRepetition
    >>> n_dispensable(FractionalRepetition(4, 1), ["a", "b", "c", "a"])
    1
    >>> n_dispensable(CyclicRepetition(4, 1), ["a", "b", "c", "a"])
    0
    """
    played: dict[str, set[int]] = {}
    for role, address in enumerate(seats):
        played.setdefault(address, set()).add(role)
    sizes = sorted(map(len, played.values()), reverse=True)
    n = 0
    while n < code.n_stragglers and (
        sum(sizes[: n + 1]) <= code.n_stragglers or _all_dispensable(code, played.values(), n + 1)
    ):
        n += 1
    return n


def _all_dispensable(code: GradientCode, played: Collection[set[int]], n: int) -> bool:
    """Say whether any ``n`` workers with these roles may be silent; no if that is much to try."""
    if comb(len(played), n) > _TRIES:
        return False
    roles = set(range(code.n_workers))
    return all(
        len(silent) <= code.n_stragglers or code.can_decode(code.available(roles - silent))
        for some in combinations(played, n)
        if (silent := set().union(*some))
    )
