"""Which blocks messages are sums over, and which messages are sums over some blocks."""

from __future__ import annotations

from collections.abc import Iterable

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import above, leaves

__all__ = ["Blocks"]


class Blocks:
    """The blocks of a code whose workers add up what they send.

    Parameters
    ----------
    code : GradientCode
        The code.

    Examples
    --------
    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> blocks = Blocks(DeclusteredRepetition(2, 1, n_leaves=4))
    >>> blocks.within([1, 5]), blocks.merged([3, 0, 1]), blocks.smallest(3)
    ({0, 1, 2}, (1, 6), 6)
    """

    def __init__(self, code: GradientCode) -> None:
        self._code = code
        self._known: dict[int, frozenset[int]] = {}  # blocks by message
        self._leaf: dict[int, int] = {}  # by block, made when it is needed
        self._held: dict[int, tuple[int, ...]] = {}  # by role

    def within(self, messages: Iterable[int]) -> set[int]:
        """Return the blocks of messages."""
        return set().union(*map(self._of, messages))

    def count(self, messages: Iterable[int]) -> int:
        """Return of how many blocks messages are sums that have none in common."""
        return sum(len(self._code.messages[message].blocks) for message in messages)

    def held(self, role: int) -> tuple[int, ...]:
        """Return the blocks that a role holds, ascending."""
        found = self._held.get(role)
        if found is None:
            found = self._held[role] = self._code.blocks_of(role)
        return found

    def owners(self) -> list[int]:
        """Return by block the role that computes it unasked."""
        found = [0] * self._code.n_blocks
        for role in range(self._code.n_workers):
            for block in self.within(self._code.first(role)):
                found[block] = role
        return found

    def _of(self, message: int) -> frozenset[int]:
        found = self._known.get(message)
        if found is None:
            found = self._known[message] = frozenset(self._code.messages[message].blocks)
        return found

    def merged(self, blocks: Iterable[int]) -> tuple[int, ...]:
        """Return the fewest messages that are sums over just these blocks."""
        left, messages = set(blocks), list[int]()
        for block in sorted(left):
            if block in left:
                *_, largest = (
                    message
                    for message in above(self._code, self.smallest(block))
                    if left.issuperset(self.within([message]))
                )
                messages.append(largest)
                left -= self.within([largest])
        return tuple(messages)

    def smallest(self, block: int) -> int:
        """Return the smallest message with a block."""
        if not self._leaf:
            code = self._code
            roots = (message for role in range(code.n_workers) for message in code.first(role))
            for message in (leaf for root in roots for leaf in leaves(code, root)):
                self._leaf.update(dict.fromkeys(code.messages[message].blocks, message))
        return self._leaf[block]
