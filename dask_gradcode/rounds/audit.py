"""Which worker is audited when, and which ones compute its sums again. No Dask, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import leaves

__all__ = ["AUDIT", "Rotation", "check_audit", "share_out"]

AUDIT = "audit"
"""What ``verify`` is where what workers send is computed again now and then."""


def check_audit(code: GradientCode) -> None:
    """Raise ValueError for a code with messages that no other workers can compute again.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.

    Examples
    --------
    >>> from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition
    >>> check_audit(DeclusteredRepetition(4, 1))
    >>> check_audit(CyclicRepetition(4, 1))
    Traceback (most recent call last):
    ValueError: verify='audit' needs 2 workers or more that can compute each message, or all parts \
of it; of CyclicRepetition(n_workers=4, n_stragglers=1, seed=0) some messages have 1.
    Use code='declustered' or 'fractional' with n_stragglers=1 or more, or verify=0.
    """
    way_out = "Use code='declustered' or 'fractional' with n_stragglers=1 or more, or verify=0."
    if code.exchanges or code.resolution > 1:
        raise ValueError(
            f"verify='audit' needs messages that are whole sums over blocks of the sender's; those "
            f"of {code!r} are not.\n{way_out}"
        )
    parts = {
        part
        for role in range(code.n_workers)
        for message in code.first(role)
        for part in leaves(code, message)
    }
    fewest = min(len(code.senders(part)) for part in parts)
    if fewest < 2:
        raise ValueError(
            "verify='audit' needs 2 workers or more that can compute each message, or all parts of "
            f"it; of {code!r} some messages have {fewest}.\n{way_out}"
        )


class Rotation:
    """Whose turn it is to be audited: everybody's once, in an order that nobody can foresee.

    Of ``n`` roles that always can be audited each has its turn in any ``2 n - 1`` turns.

    Parameters
    ----------
    n_roles : int
        How many there are.
    rng : numpy.random.Generator
        Draws the order, anew for each lap.

    Examples
    --------
    >>> rotation = Rotation(4, np.random.default_rng(0))
    >>> sorted(rotation.take(range(4)) for _ in range(4))
    [0, 1, 2, 3]
    >>> rotation.take([]) is None
    True
    """

    def __init__(self, n_roles: int, rng: np.random.Generator) -> None:
        self._n_roles, self._rng = n_roles, rng
        self._left: list[int] = []  # of this lap, in order

    def take(self, able: Collection[int]) -> int | None:
        """Return the role whose turn it is, of all that can be audited now; None if none can."""
        role = self._next(able)
        if role is None:  # what is left of the lap cannot be: it stays first in the next one
            lap = self._rng.permutation(self._n_roles).tolist()
            self._left += [other for other in lap if other not in self._left]
            role = self._next(able)
        if role is not None:
            self._left.remove(role)
        return role

    def _next(self, able: Collection[int]) -> int | None:
        return next((role for role in self._left if role in able), None)


def share_out(
    code: GradientCode,
    message: int,
    able: Sequence[int],
    load: Mapping[int, int],
    late: Collection[int] = (),
) -> dict[int, int] | None:
    """Return which role computes a message again, or which ones its parts; None if none can.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    message : int
        Which message.
    able : sequence of int
        Roles that can be asked, not the one that has sent it, in the order in which they are.
    load : mapping of int to int
        How many blocks each has been asked for already: the one with fewer comes first.
    late : collection of int, optional
        Roles that are asked last.

    Returns
    -------
    dict of int to int
        The role by the message.

    Examples
    --------
    Of share 0 its owner alone has all; two others have half each:

    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> code = DeclusteredRepetition(4, 1, spread=2, n_leaves=2)
    >>> share_out(code, 0, [1, 2, 3], {})
    {1: 1, 2: 3}
    """
    counts = Counter(load)
    others = [role for role in code.senders(message) if role in able]
    if others:
        first = min(others, key=lambda role: (role in late, counts[role], able.index(role)))
        return {message: first}
    found: dict[int, int] = {}
    for child in code.children(message):
        part = share_out(code, child, able, counts, late)
        if part is None:
            return None
        found |= part
        for below, role in part.items():
            counts[role] += len(code.messages[below].blocks)
    return found or None
