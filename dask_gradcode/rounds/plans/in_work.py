"""Which blocks are not in, which roles are at work on them, and on which none is."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["InWork"]

_NOTHING: frozenset[int] = frozenset()


class InWork:
    """Which roles owe which blocks; blocks owed by no role that *counts* are *open*.

    It is kept up to date by what changes: an answer costs as much as it says, however many roles
    and blocks there are.

    Parameters
    ----------
    left : collection of int
        The blocks that are not in.

    Attributes
    ----------
    open : set of int
        Blocks that are neither in nor owed by a role that counts.

    Examples
    --------
    Role 1 is at work on two blocks of four; then it does not count any more, and one of them comes:

    >>> work = InWork(range(4))
    >>> work.note(1, {0, 1}, counts=True)
    >>> work.open, work.owers(1)
    ({2, 3}, {1})
    >>> work.note(1, {0, 1}, counts=False)
    >>> work.arrive([0]), work.open, work.owed(1)
    ({1}, {1, 2, 3}, {1})
    """

    def __init__(self, left: Collection[int]) -> None:
        self._left, self.open = set(left), set(left)
        self._owed: dict[int, set[int]] = {}  # by role
        self._owers: dict[int, set[int]] = {}  # by block
        self._counting: set[int] = set()  # roles
        self._n_counting: dict[int, int] = {}  # owers that count, by block

    def owed(self, role: int) -> Collection[int]:
        """Return the blocks that a role owes and that are not in."""
        return self._owed.get(role, _NOTHING)

    def owers(self, block: int) -> Collection[int]:
        """Return the roles that owe a block that is not in."""
        return self._owers.get(block, _NOTHING)

    def note(self, role: int, blocks: Iterable[int], counts: bool) -> None:
        """Note all that a role owes, and whether it counts.

        Parameters
        ----------
        role : int
            The role.
        blocks : iterable of int
            Blocks that are in are left out.
        counts : bool
            Whether it is believed to send them in time.
        """
        before, now = self._owed.get(role, _NOTHING), self._left.intersection(blocks)
        if role in self._counting:
            self._count(before, -1)
        for block in before - now:
            self._owers[block].discard(role)
        for block in now - before:
            self._owers.setdefault(block, set()).add(role)
        self._owed[role] = now
        (self._counting.add if counts else self._counting.discard)(role)
        if counts:
            self._count(now, 1)

    def arrive(self, blocks: Iterable[int]) -> set[int]:
        """Note that blocks are in; return the roles that owed any of them."""
        found: set[int] = set()
        for block in self._left.intersection(blocks):
            owers = self._owers.pop(block, _NOTHING)
            for role in owers:
                self._owed[role].discard(block)
            found.update(owers)
            self._n_counting.pop(block, None)
            self._left.discard(block)
            self.open.discard(block)
        return found

    def _count(self, blocks: Iterable[int], change: int) -> None:
        for block in blocks:
            self._n_counting[block] = n_counting = self._n_counting.get(block, 0) + change
            (self.open.discard if n_counting else self.open.add)(block)
