"""What a virtual worker has to do, and when it will have done it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import Forest, leaves

__all__ = ["Agenda"]


class _Step(NamedTuple):
    """One leaf that is computed for a message."""

    message: int
    leaf: int
    took: float
    end: float


class Agenda:
    """What one role computes in a round, leaf after leaf.

    Parameters
    ----------
    code : GradientCode
        Says from which leaves messages are added up.

    Examples
    --------
    Four blocks of 1 s each, of which one and a half are done when the role is told to yield:

    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> agenda = Agenda(DeclusteredRepetition(2, 1, n_leaves=4))
    >>> agenda.begin(at=0.0)
    >>> agenda.ask([0], now=0.0, pace=1.0)
    [(0, 4.0)]
    >>> agenda.cut(now=1.5)
    ([3], (4, 2.0))
    """

    def __init__(self, code: GradientCode) -> None:
        self._code = code
        self._steps: list[_Step] = []
        self._free_at = 0.0
        self._summed: set[tuple[int, ...]] = set()  # blocks of the sums that messages are slices of

    def begin(self, at: float) -> None:
        """Begin a round, in which nothing is computed before some time."""
        self._steps, self._free_at = [], at
        self._summed.clear()

    def ask(self, messages: Sequence[int], now: float, pace: float) -> list[tuple[int, float]]:
        """Add messages, each block of which takes ``pace`` seconds; return when each is done."""
        added = []
        at = max(self._free_at, now)
        for message in messages:
            for leaf in leaves(self._code, message):
                took = pace * self._n_to_compute(leaf)
                at += took
                self._steps.append(_Step(message, leaf, took, at))
            added.append((message, at))
        self._free_at = at
        return added

    def _n_to_compute(self, leaf: int) -> int:
        """Return how many blocks are computed for a leaf: none, if it is a slice of a known sum."""
        message = self._code.messages[leaf]
        if message.slices.is_whole:
            return len(message.blocks)
        known = message.blocks in self._summed
        self._summed.add(message.blocks)
        return 0 if known else len(message.blocks)

    def unfinished(self, now: float) -> set[int]:
        """Return the messages that are not done."""
        return {step.message for step in self._steps if step.end > now}

    def cut(self, now: float) -> tuple[list[int], tuple[int, float] | None]:
        """Give up all but the leaf that is being computed.

        Returns
        -------
        finished : list of int
            The largest sums of a message that is not done.
        running : tuple of int and float or None
            The leaf, and when it is done; None if there is nothing to do.
        """
        running = next((step for step in self._steps if step.end > now), None)
        if running is None:
            return [], None
        finished: Forest[None] = Forest(self._code, lambda left, right: None)
        for step in self._steps:
            if step.message == running.message and step.end <= now:
                finished.put(step.leaf, None)
        self._steps = [_Step(running.leaf, running.leaf, running.took, running.end)]
        self._free_at = running.end
        return list(finished.sums), (running.leaf, running.end)

    def drop(self, messages: Collection[int], now: float) -> list[tuple[int, float]]:
        """Give up messages; return when the others are done that are done sooner for it.

        A sum of which slices are sent is computed nevertheless.
        """
        if self._summed:
            return []
        done = [step for step in self._steps if step.end <= now]
        left = [step for step in self._steps if step.end > now]
        kept = [step for step in left if step.message not in messages]
        if len(kept) == len(left):
            return []
        at = now
        for step in kept:
            # the one that is running goes on
            at = step.end if step is left[0] else at + step.took
            done.append(step._replace(end=at))
        self._steps, self._free_at = done, at
        return list({step.message: step.end for step in done if step.end > now}.items())
