"""What workers have sent, computed again by others that hold the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import Forest
from dask_gradcode.rounds.audit import share_out
from dask_gradcode.rounds.referee import Court
from dask_gradcode.typing import Part, Payload, Vector

__all__ = ["Again", "Answered", "Bench", "Pending", "Recount", "Told", "Wanted", "whole_sum"]

Told = Mapping[int, Payload] | str
"""Payloads by message; a text says why there are none."""


class Answered(NamedTuple):
    """An answer to a round."""

    round: int
    role: int
    message: int


class Wanted(NamedTuple):
    """Messages of a round that a role is to compute again."""

    round: int
    role: int
    messages: Sequence[int]


class Pending(Protocol):
    """What roles have been asked to compute."""

    def look(self, timeout: float = 0.0) -> bool:
        """Take in what has come, after waiting so many seconds for something; True if all has."""
        ...

    def told(self, ticket: Any) -> Told:
        """Return what has come, or why it has not."""
        ...

    def close(self) -> None:
        """Wait for nothing more."""
        ...


class Bench(Court, Protocol):
    """A court that also has roles compute again what others have sent.

    Attributes
    ----------
    wide : bool
        Whether holders of the same rows may see different columns of them: what they send for a
        round is then alike within rounding only.
    """

    wide: bool

    @property
    def addresses(self) -> Mapping[int, str]:
        """Which worker plays each role."""
        ...

    def present(self) -> Collection[int]:
        """Return the roles that can be asked."""
        ...

    def again(self, wanted: Mapping[Any, Wanted], recall: Callable[[int], None]) -> Pending:
        """Have roles compute messages again, by ticket; ``recall`` has a round begin again."""
        ...


class Again(NamedTuple):
    """An answer that was computed again.

    Parameters
    ----------
    answer : Answered
        Which.
    auditors : mapping of int to int
        By part of the message, the role that has computed it.
    parts : mapping of int to ndarray or Part
        These parts; fewer if somebody has not answered.
    """

    answer: Answered
    auditors: Mapping[int, int]
    parts: Mapping[int, Payload]

    @property
    def is_complete(self) -> bool:
        """Whether all have answered."""
        return len(self.parts) == len(self.auditors)


class Recount:
    """Some answers that are being computed again.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    bench : Bench
        Asks roles.
    recall : callable
        ``recall(round)`` has the bench know a round's point again.
    answers : sequence of Answered
        What is to be computed again.
    able : callable
        ``able(answer)`` returns the roles that can be asked, in the order in which they are.
    late : collection of int
        Roles that are asked last.

    Attributes
    ----------
    n_answers, n_blocks : int
        How many answers are computed again, and of how many blocks they are.
    """

    def __init__(
        self,
        code: GradientCode,
        bench: Bench,
        recall: Callable[[int], None],
        answers: Sequence[Answered],
        able: Callable[[Answered], Sequence[int]],
        late: Collection[int],
    ) -> None:
        self._shares: dict[Answered, dict[int, int]] = {}
        load = Counter[int]()
        for answer in answers:
            share = share_out(code, answer.message, able(answer), load, late)
            if share is None:
                continue
            self._shares[answer] = share
            for part, role in share.items():
                load[role] += len(code.messages[part].blocks)
        self.n_answers, self.n_blocks = len(self._shares), sum(load.values())
        wanted = {
            (answer, part): Wanted(answer.round, role, [part])
            for answer, share in self._shares.items()
            for part, role in share.items()
        }
        self._pending = bench.again(wanted, recall)

    def look(self, timeout: float = 0.0) -> bool:
        """Take in what has come, after waiting so many seconds for something; True if all has."""
        return self._pending.look(timeout)

    def wait(self) -> None:
        """Wait for all that can answer."""
        while not self.look(1.0):
            pass

    def close(self) -> None:
        """Wait for nothing more."""
        self._pending.close()

    def told(self) -> list[Again]:
        """Return what has come, and wait for nothing more."""
        self.close()
        return [self._again(answer, share) for answer, share in self._shares.items()]

    def _again(self, answer: Answered, share: Mapping[int, int]) -> Again:
        parts: dict[int, Payload] = {}
        for part in share:
            told = self._pending.told((answer, part))
            if not isinstance(told, str):
                parts.update(told)
        return Again(answer, share, parts)


def whole_sum(code: GradientCode, message: int, parts: Mapping[int, Payload]) -> Payload:
    """Return a message's payload, given the payloads of its parts.

    Parameters
    ----------
    code : GradientCode
        Says in which order they are added.
    message : int
        Which message.
    parts : mapping of int to ndarray or Part
        Their payloads.

    Examples
    --------
    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> code = DeclusteredRepetition(2, 1, n_leaves=2)
    >>> whole_sum(code, 0, {1: np.array([1.0]), 2: np.array([2.0])})
    array([3.])
    """
    if message in parts:
        return parts[message]
    forest: Forest[Vector] = Forest(code, lambda left, right: left + right, message)
    for part, payload in parts.items():
        forest.put(part, _dense(payload))
    return forest.sums[message]


def _dense(payload: Payload) -> Vector:
    if not isinstance(payload, Part):
        return payload
    whole = np.zeros(payload.size)
    whole[payload.entries] = payload.values
    return whole
