"""Sums on their way up trees: on the worker, on the client and in the decoder alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from dask_gradcode.codes.base import GradientCode

__all__ = ["Forest"]

T = TypeVar("T")


class Forest(Generic[T]):
    """The sums of messages, each pair of children added as soon as both are there.

    A message that has children is the sum of theirs, and it is only ever added up from them in
    this one way. So its bits do not depend on who computed which part of it, nor on what came
    first. The messages of most codes have no children: they are kept as they come.

    Parameters
    ----------
    code : GradientCode
        Says which messages are children of which.
    add : callable
        ``add(left, right)`` returns the sum of two children; it may reuse the left one.
    top : int, optional
        A message that is not added to its sibling. None: sums go up to the roots.

    Attributes
    ----------
    sums : dict of int to object
        By message, the largest sums that there are.

    Examples
    --------
    The four leaves of a share are messages 3 to 6, their sums in pairs 1 and 2, the root is 0:

    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> forest = Forest(DeclusteredRepetition(2, 1, n_leaves=4), "({}+{})".format)
    >>> [forest.put(leaf, value) for leaf, value in [(3, "a"), (6, "d"), (4, "b")]]
    [3, 6, 1]
    >>> forest.sums
    {6: 'd', 1: '(a+b)'}
    >>> forest.put(5, "c"), forest.sums
    (0, {0: '((a+b)+(c+d))'})
    """

    def __init__(
        self, code: GradientCode, add: Callable[[T, T], T], top: int | None = None
    ) -> None:
        self._code, self._add, self._top = code, add, top
        self.sums: dict[int, T] = {}

    def put(self, message: int, value: T) -> int | None:
        """Take in the sum of a message.

        Parameters
        ----------
        message : int
            Its index in ``code.messages``.
        value : object
            Its sum. What has come of parts of it gives way to it.

        Returns
        -------
        int or None
            The largest message that is complete by it; None if it was known before.
        """
        if self.has(message):
            return None
        code, sums = self._code, self.sums
        for part in self._below(message):
            sums.pop(part, None)
        while message != self._top and (parent := code.parent(message)) is not None:
            left, right = code.children(parent)
            sibling = sums.pop(right if message == left else left, None)
            if sibling is None:
                break
            pair = (value, sibling) if message == left else (sibling, value)
            message, value = parent, self._add(*pair)
        sums[message] = value
        return message

    def has(self, message: int) -> bool:
        """Say whether a message is among the sums, or a part of one of them."""
        above: int | None = message
        while above is not None:
            if above in self.sums:
                return True
            above = self._code.parent(above)
        return False

    def _below(self, message: int) -> Iterator[int]:
        for child in self._code.children(message):
            yield child
            yield from self._below(child)
