"""Sums on their way up trees: on the worker, on the client and in the decoder alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from dask_gradcode.codes.base import GradientCode

__all__ = ["Forest", "above", "below", "leaves"]

T = TypeVar("T")


class Forest(Generic[T]):
    """The sums of messages, each pair of children added as soon as both are there.

    A message that has children is the sum of theirs, and it is only ever added up from them in
    this one way. So its bits do not depend on which worker computed which part, nor on what came
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
        # sums that may still be added to something, by the root above them
        self._parts: dict[int, set[int]] = {}

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
        code, sums = self._code, self.sums
        line = tuple(above(code, message))
        if not sums.keys().isdisjoint(line):
            return None
        parts = self._parts.setdefault(line[-1], set())
        if parts:
            for part in parts.intersection(below(code, message)):
                del sums[part]
                parts.remove(part)
        while message != self._top and (parent := code.parent(message)) is not None:
            left, right = code.children(parent)
            sibling = right if message == left else left
            if sibling not in sums:
                break
            other = sums.pop(sibling)
            parts.discard(sibling)
            pair = (value, other) if message == left else (other, value)
            message, value = parent, self._add(*pair)
        sums[message] = value
        if message != self._top and message != line[-1]:
            parts.add(message)
        return message

    def clear(self) -> dict[int, T]:
        """Return the sums, and forget them."""
        found, self.sums = self.sums, {}
        self._parts.clear()
        return found

    def has(self, message: int) -> bool:
        """Say whether a message is among the sums, or a part of one of them."""
        return any(other in self.sums for other in above(self._code, message))


def above(code: GradientCode, message: int) -> Iterator[int]:
    """Yield a message and all of which it is a part, up to the root."""
    found: int | None = message
    while found is not None:
        yield found
        found = code.parent(found)


def below(code: GradientCode, message: int) -> list[int]:
    """Return all messages that are parts of a message."""
    found = list(code.children(message))
    for part in found:
        found += code.children(part)  # which then are gone through, too
    return found


def leaves(code: GradientCode, message: int) -> Iterator[int]:
    """Yield the messages without children from which a message is added up, in order."""
    children = code.children(message)
    if not children:
        yield message
    for child in children:
        yield from leaves(code, child)
