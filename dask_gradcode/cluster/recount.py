"""What workers have sent, computed again by others that hold the same rows: by Dask tasks."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dask_gradcode.cluster.asking import Asked
from dask_gradcode.cluster.client.waiting import LOOK_EVERY
from dask_gradcode.cluster.court import Court
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.worker.accounts import Question, compute_again
from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import Forest
from dask_gradcode.rounds.audit import share_out
from dask_gradcode.typing import Part, Payload, Vector

__all__ = ["Again", "Answered", "Recount", "again", "whole_sum"]


class Answered(NamedTuple):
    """An answer to a round."""

    round: int
    role: int
    message: int


class Again(NamedTuple):
    """An answer that was computed again.

    Parameters
    ----------
    answer : Answered
        Which.
    auditors : mapping of int to int
        By part of the message, who has computed it.
    parts : mapping of int to ndarray or Part
        Those parts; fewer than that if somebody has not answered.
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
    data : Placement
        The data.
    court : Court
        Knows the points.
    recall : callable
        ``recall(round)`` has the court know a round's point again.
    answers : sequence of Answered
        What is to be computed again.
    able : callable
        ``able(answer)`` returns the roles that can be asked, in the order in which they are.
    late : collection of int
        Roles that are asked last.

    Attributes
    ----------
    lacking : list of Answered
        Those that nobody can compute again.
    n_blocks : int
        How many blocks are computed.
    """

    def __init__(
        self,
        data: Placement,
        court: Court,
        recall: Callable[[int], None],
        answers: Sequence[Answered],
        able: Callable[[Answered], Sequence[int]],
        late: Collection[int],
    ) -> None:
        self._code, self._court = data.code, court
        self._shares: dict[Answered, dict[int, int]] = {}
        self.lacking: list[Answered] = []
        self.n_blocks, load = 0, Counter[int]()
        for answer in answers:
            share = share_out(data.code, answer.message, able(answer), load, late)
            if share is None:
                self.lacking.append(answer)
                continue
            self._shares[answer] = share
            for part, role in share.items():
                load[role] += len(data.code.messages[part].blocks)
        self.n_blocks = sum(load.values())
        self._recall = recall
        roles = {
            (answer, part): role
            for answer, share in self._shares.items()
            for part, role in share.items()
        }
        self._asked = Asked(
            data, compute_again, roles, lambda ticket: self._args(ticket, roles[ticket])
        )

    def _args(self, ticket: tuple[Answered, int], role: int) -> tuple[Question, Vector, list[int]]:
        answer, part = ticket
        self._recall(answer.round)
        question = self._court.question(answer.round, part, 0)
        assert question is not None
        return question, self._court.point(answer.round, role), [part]

    def look(self, timeout: float = 0.0) -> bool:
        """Take in what has come, after waiting so many seconds for something; True if all has."""
        return self._asked.look(timeout)

    def wait(self) -> None:
        """Wait for all who can answer."""
        while not self.look(LOOK_EVERY):
            pass

    def cancel(self) -> None:
        """Wait for nothing more."""
        self._asked.close()

    def told(self) -> list[Again]:
        """Return what has come, and wait for nothing more."""
        self._asked.close()
        return [self._again(answer, share) for answer, share in self._shares.items()]

    def _again(self, answer: Answered, share: Mapping[int, int]) -> Again:
        parts: dict[int, Payload] = {}
        self._recall(answer.round)
        for part, role in share.items():
            told = self._asked.told.get((answer, part))
            if isinstance(told, list):
                parts[part] = self._court.received(answer.round, role, told[0])
        return Again(answer, share, parts)


def again(
    data: Placement, court: Court, round: int, messages: Mapping[int, Sequence[int]]
) -> dict[int, dict[int, Payload] | str]:
    """Have roles compute messages of a round that the court knows; a text says why one has not.

    Parameters
    ----------
    data : Placement
        The data.
    court : Court
        Knows the round's point.
    round : int
        Which round.
    messages : mapping of int to sequence of int
        Which messages, by role.
    """
    seed = uuid.uuid4().int % 2**32
    question = court.question(round, 0, seed)
    assert question is not None
    asked = Asked(
        data,
        compute_again,
        {role: role for role in messages},
        lambda role: (question, court.point(round, role), messages[role]),
    )
    try:
        while not asked.look(LOOK_EVERY):
            pass
    finally:
        asked.close()
    found: dict[int, dict[int, Payload] | str] = {}
    for role, wanted in messages.items():
        told = asked.told[role]
        if isinstance(told, str):
            found[role] = told
            continue
        payloads = (court.received(round, role, payload) for payload in told)
        found[role] = dict(zip(wanted, payloads, strict=True))
    return found


def whole_sum(code: GradientCode, message: int, parts: Mapping[int, Payload]) -> Payload:
    """Return a message's payload, given those of parts of it.

    Parameters
    ----------
    code : GradientCode
        Says in which order they are added.
    message : int
        Which message.
    parts : mapping of int to ndarray or Part
        Their payloads.
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
