"""What is known in the middle of a round: read by rules and plans, written by the round alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.codes.forest import above, below
from dask_gradcode.rounds.answer import Answer
from dask_gradcode.rounds.carried import Busy, Carried, Free, Slow, Stale
from dask_gradcode.rounds.events import (
    Absent,
    Announced,
    Blocks,
    Event,
    Failed,
    Heard,
    Lost,
    Ready,
    Relocated,
    Silent,
    Unplaced,
    Yielded,
)
from dask_gradcode.rounds.ledger import Kept, Ledger
from dask_gradcode.rounds.senders import Senders
from dask_gradcode.rounds.verdicts import Expelled
from dask_gradcode.typing import Mask

__all__ = ["State"]


class State:
    """What is known in the middle of a round.

    Wait rules and plans read it; only the :class:`Round` writes it.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.

    Attributes
    ----------
    started : float
        When the round began, in seconds on the caller's clock.
    ledger : Ledger
        What each role owes.
    asked : dict of int to set of int
        What each role has been asked for and may still answer, or has answered.
    answers : list of Answer
        What has come, in the order of arrival, replicas of one message included.
    arrived : ndarray of bool, shape (n_messages,)
        Which messages are in the sum.
    pending : ndarray of bool, shape (n_messages,)
        Which are not in it, but may still come, asked for or not.
    lost : dict of int to str
        Why roles cannot answer: they are gone, or what they sent cannot be right.
    errors : dict of int to BaseException
        What computing has raised, by role.
    silent : dict of int to Silent
        What is known of the roles that give no sign of life.
    parts : dict of int to tuple of int
        Of messages that came without some of their blocks, the blocks that are in them.
    absent : set of int
        Messages that were lost on their way.
    unplaced : set of int
        The lost roles that have never been placed.
    restored, placed : set of int
        Roles that can answer again, after they were lost or had never been placed.
    relocated : set of int
        Roles that are on another worker than in the round before.
    hurried : set of int
        Roles that have been told to yield.
    kept : dict of int to Kept
        Which roles keep a message of which only digests have come, where it may be wanted.
    carried : Carried
        What earlier rounds have left, under a rule that remembers it.
    n_changes : int
        How often the set of roles that can be asked has changed.
    n_complete : int
        How many roles have sent all that they compute unasked, and nothing that cannot be right.
    decodable : bool
        Whether the exact sum can be decoded from what has arrived.
    at_least : int
        How many messages are waited for at least.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.rounds import Lost, Round
    >>> round_ = Round(0, FractionalRepetition(4, 1))
    >>> _ = round_.begin([Lost(0, "it is dead")], now=0.0)
    >>> round_.state.ready(), round_.state.lost, round_.state.decodable
    ([1, 2, 3], {0: 'it is dead'}, False)
    """

    def __init__(self, code: GradientCode) -> None:
        n_messages = len(code.messages)
        self.code = code
        self.started, self.ledger = 0.0, Ledger()
        self.asked, self.hurried = self.ledger.asked, self.ledger.hurried
        self.answers: list[Answer] = []
        self.arrived: Mask = np.zeros(n_messages, dtype=bool)
        self._senders = Senders(code)
        self.pending: Mask = self._senders.pending
        self.lost: dict[int, str] = {}
        self.errors: dict[int, BaseException] = {}
        self.silent: dict[int, Silent] = {}
        self.parts: dict[int, tuple[int, ...]] = {}
        self.absent, self.unplaced = set[int](), set[int]()
        self.restored, self.placed, self.relocated = set[int](), set[int](), set[int]()
        self.carried, self.kept = Carried(), dict[int, Kept]()
        self.n_changes = self.n_complete = self.at_least = 0
        self.decodable = False
        self._decoder = code.decoder()
        self._taken_from: dict[int, int] = {}  # the role whose answer is in the sum, by message
        self._added: dict[int, int] = {}  # how many answers were not put aside, by role

    def decode(self) -> Decoding:
        """Return the best decoding of what has arrived."""
        return self._decoder.decode()

    def ready(self) -> list[int]:
        """Return the roles that can be asked, ascending."""
        return [role for role in range(self.code.n_workers) if role not in self.lost]

    def holders(self, block: int) -> tuple[int, ...]:
        """Return the roles that hold a block and can be asked, ascending."""
        return tuple(role for role in self.code.holders[block] if role not in self.lost)

    def missing(self) -> tuple[int, ...]:
        """Return the roles that compute, unasked, what is not in the sum yet, ascending."""
        arrived = self.arrived.tolist()
        first, roles = self.code.first, range(self.code.n_workers)
        return tuple(role for role in roles if not all(arrived[i] for i in first(role)))

    def owed(self, role: int) -> set[int]:
        """Return what a role has been asked for and has not answered."""
        return self.ledger.owed(role)

    def unanswered(self, seconds: float) -> tuple[int, ...]:
        """Return the roles without a full answer so long after the start, ascending."""
        owed, heard = {role: set(messages) for role, messages in self.asked.items()}, set[int]()
        for role, message, after, _ in self.answers:
            if after <= seconds and role in owed:
                owed[role].discard(message)
                heard.add(role)
        return tuple(i for i in range(self.code.n_workers) if i not in heard or owed[i])

    def unasked(self, role: int) -> tuple[int, ...]:
        """Return the messages that a role computes unasked and should be asked for, in order."""
        # what is in the sum is left out, until that is exact: then somebody wants more
        first, asked = self.code.first(role), self.asked.get(role)
        if self._senders.are_all and not asked:
            return first  # as at the start of nearly every round
        return tuple(
            message
            for message in first
            if (self.pending[message] or self.decodable)
            and role in self.able_to_send(message)
            and not (asked and message in asked)
        )

    def able_to_send(self, message: int) -> Iterable[int]:
        """Return the roles that may still send a message, or have."""
        return self._senders.of(message)

    # ---- for the round and its answers

    def receive(self, role: int, message: int, now: float, blocks: Blocks = None) -> None:
        """Note that a message has come, whatever will be made of it."""
        if blocks is not None:
            self.parts[message] = blocks
        self.silent.pop(role, None)
        if (role, message) not in self.ledger.announced:
            self.answers.append(Answer(role, message, now - self.started))
        self.ledger.answer(role, message)
        self._senders.withdraw(role, message)

    def keep(self, message: int, kept: Kept) -> None:
        """Note which roles have told a digest and may be asked for the message: others need not."""
        if kept.roles:
            self.kept[message] = kept
        else:
            self.kept.pop(message, None)
        if not self.arrived[message]:
            holders, announced = self.code.senders(message), self.ledger.announced
            told = {role for role in holders if (role, message) in announced}
            self._senders.replace(message, told, kept.roles)

    def note(self, event: Event, now: float) -> None:
        """Note an event of this round that is no message."""
        match event:
            case Announced(_, role, message):  # which the role may still send
                self.silent.pop(role, None)
                self.ledger.announce(role, message)
                self.answers.append(Answer(role, message, now - self.started))
            case Failed(_, role, message, error):
                self.fail(role, message, error)
            case Absent(_, role, message):
                self.ledger.answer(role, message)
                self._senders.withdraw(role, message)
                self.absent.add(message)
            case Yielded(_, role, running):
                self.ledger.cut(role, running)
            case Lost(role, why) | Expelled(role, why):
                self.lose(role, why)
            case Unplaced(role, why):
                self.lose(role, why)
                self.unplaced.add(role)
            case Ready(role, again):
                self.restore(role, again=again)
            case Relocated(role):
                self.relocated.add(role)
            case Silent(role):
                if any(self._senders.may_send(role, m) for m in self.code.messages_of[role]):
                    self.silent[role] = event
            case Heard(role):
                self.silent.pop(role, None)
            case Busy() | Free() | Slow() | Stale():
                self.carried.note(event)

    def add(self, role: int, message: int) -> None:
        """Note that a message is in the sum, as a role has sent it; or that it was a replica."""
        first = self.code.first(role)
        if message in first:
            self._added[role] = n_added = self._added.get(role, 0) + 1
            self.n_complete += n_added == len(first)
        if message not in self._taken_from:
            self._taken_from[message] = role
            self.arrived[message], self.pending[message] = True, False
            if (blocks := self.parts.get(message)) is None:
                self.decodable = self._decoder.add(message)
            else:
                self.decodable |= self._decoder.add_part(message, blocks)

    def settle(self, decoding: Decoding) -> None:
        """Enter in the answers which of them a decoding uses."""
        used, taken_from = decoding.used.tolist(), self._taken_from
        self.answers[:] = [
            Answer(role, message, seconds, used[message] and taken_from.get(message) == role)
            for role, message, seconds, _ in self.answers
        ]

    def fail(self, role: int, message: int, error: BaseException) -> None:
        """Note that a message will not come from a role, as computing it has raised."""
        for other in (*above(self.code, message), *below(self.code, message)):
            self._senders.withdraw(role, other)
        self.errors[role] = error
        self.n_changes += 1

    def lose(self, role: int, why: str) -> None:
        """Note that a role is gone, with all that it has not yet sent."""
        for message in self.code.messages_of[role]:
            self._senders.withdraw(role, message)
        self.ledger.lose(role)
        self.carried.release(role)
        self.lost[role] = why
        self.silent.pop(role, None)
        self.n_changes += 1

    def disbelieve(self, role: int, why: str) -> None:
        """Note that a role has sent what cannot be right: what it owes may still be."""
        owed = self.owed(role)
        for message in self.code.messages_of[role]:
            if message not in owed:
                self._senders.withdraw(role, message)
        self.lost[role] = why
        self.n_changes += 1

    def hold(self, message: int) -> None:
        """Note that a message that has come may yet be added."""
        self.pending[message] = not self.arrived[message]

    def believe(self, role: int) -> None:
        """Note that what a role has sent is taken for right after all."""
        self.lost.pop(role, None)
        self.n_changes += 1

    def forget(self) -> None:
        """Note that the round has ended: which roles may still send what is of no interest."""
        self._senders.forget()
        self.kept.clear()

    def restore(self, role: int, *, again: bool = True) -> None:
        """Note that a role can be asked for all that is missing of it."""
        self.lost.pop(role, None)
        self.errors.pop(role, None)
        self.unplaced.discard(role)
        (self.restored if again else self.placed).add(role)
        held, arrived = self.code.messages_of[role], self.arrived
        back = {i for i in held if not (arrived[i] or self._senders.may_send(role, i))}
        self._senders.restore(role, back)
        self.ledger.renew(role, back)
        self.n_changes += 1
