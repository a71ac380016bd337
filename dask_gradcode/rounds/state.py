"""What is known in the middle of a round: read by rules and plans, written by the round alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.rounds.events import Event, Failed, Heard, Lost, Ready, Silent, Unplaced
from dask_gradcode.typing import Mask, Vector

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
    asked : dict of int to set of int
        What each role has been asked for and may still answer, or has answered.
    arrived : ndarray of bool, shape (n_messages,)
        Which messages are in the sum.
    pending : ndarray of bool, shape (n_messages,)
        Which may still come, whether they have been asked for or not.
    arrived_at : ndarray of shape (n_messages,)
        Seconds after the start at which they came, NaN if they have not.
    lost : dict of int to str
        Why roles cannot answer: they are gone, or what they sent cannot be right.
    errors : dict of int to BaseException
        What computing has raised, by role.
    silent : dict of int to Silent
        What is known of the roles that give no sign of life.
    unplaced : set of int
        Those of the lost that have never been placed.
    restored : set of int
        Roles that were lost and can answer again.
    placed : set of int
        Roles that had never been placed and can answer.
    n_complete : int
        Of how many roles all messages are in the sum.
    decodable : bool
        Whether the exact sum can be decoded from what has arrived.

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
        self.started = 0.0
        self.asked: dict[int, set[int]] = {}
        self.arrived: Mask = np.zeros(n_messages, dtype=bool)
        self.pending: Mask = np.ones(n_messages, dtype=bool)
        self.arrived_at: Vector = np.full(n_messages, np.nan)
        self.lost: dict[int, str] = {}
        self.errors: dict[int, BaseException] = {}
        self.silent: dict[int, Silent] = {}
        self.unplaced: set[int] = set()
        self.restored: set[int] = set()
        self.placed: set[int] = set()
        self.n_complete = 0
        self.decodable = False
        self._decoder = code.decoder()
        self._n_left = list(map(len, code.messages_of))  # messages, by role
        self._is_fresh = True  # all is pending

    def decode(self) -> Decoding:
        """Return the best decoding of what has arrived."""
        return self._decoder.decode()

    def ready(self) -> list[int]:
        """Return the roles that can be asked, ascending."""
        return [role for role in range(self.code.n_workers) if role not in self.lost]

    def missing(self) -> tuple[int, ...]:
        """Return the roles of which a message is not in the sum, ascending."""
        return self._roles_of(~self.arrived)

    def unanswered(self, seconds: float) -> tuple[int, ...]:
        """Return the roles that had not answered in full so long after the start, ascending."""
        return self._roles_of(~(self.arrived_at <= seconds))  # NaN is not

    def _roles_of(self, messages: Mask) -> tuple[int, ...]:
        return tuple(sorted({self.code.messages[i].worker for i in np.flatnonzero(messages)}))

    def unasked(self, role: int) -> tuple[int, ...]:
        """Return what a role could send and has not been asked for, in its order of computing."""
        asked = self.asked.get(role, ())
        mine = self.code.messages_of[role]
        if self._is_fresh and not asked:
            return mine
        return tuple(index for index in mine if self.pending[index] and index not in asked)

    def enough_without(self, roles: Iterable[int]) -> bool:
        """Say whether the exact sum can still come about without what some roles may yet send."""
        possible = self.arrived | self.pending
        for role in roles:
            mine = list(self.code.messages_of[role])
            possible[mine] = self.arrived[mine]
        return self.code.can_decode(possible)

    def has_failed_for_good(self) -> bool:
        """Say whether the work on some block has failed on all who hold it."""
        if not self.errors:
            return False
        code = self.code
        able = (role for role in range(code.n_workers) if role not in self.errors)
        return len({block for role in able for block in code.blocks_of(role)}) < code.n_blocks

    # ---- for the round alone

    def ask(self, role: int, messages: tuple[int, ...]) -> None:
        """Note that a role has been asked for messages."""
        if role in self.asked:
            self.asked[role].update(messages)
        else:
            self.asked[role] = set(messages)

    def receive(self, role: int, message: int, now: float) -> None:
        """Note that a message has come, whatever will be made of it."""
        if self.silent:
            self.hear(role)
        self._is_fresh = self.pending[message] = False
        self.arrived_at[message] = now - self.started

    def note(self, event: Event, number: int) -> None:
        """Note an event that is no answer; what is told of other rounds is nothing to this one."""
        match event:
            case Failed(round_, role, message, error) if round_ == number:
                self.fail(role, message, error)
            case Lost(role, why):
                self.lose(role, why)
            case Unplaced(role, why):
                self.await_placing(role, why)
            case Ready(role, again):
                self.restore(role, again=again)
            case Silent():
                self.fall_silent(event)
            case Heard(role):
                self.hear(role)

    def add(self, message: int) -> None:
        """Note that a message is in the sum."""
        self.arrived[message] = True
        role = self.code.messages[message].worker
        self._n_left[role] -= 1
        self.n_complete += self._n_left[role] == 0
        self.decodable = self._decoder.add(message)

    def fail(self, role: int, message: int, error: BaseException) -> None:
        """Note that a message will not come, as computing it has raised."""
        self._is_fresh = self.pending[message] = False
        self.errors[role] = error

    def lose(self, role: int, why: str) -> None:
        """Note that a role is gone, with all that it has not yet sent."""
        self._is_fresh = False
        self.pending[list(self.code.messages_of[role])] = False
        self.asked.pop(role, None)
        self.lost[role] = why
        self.silent.pop(role, None)

    def await_placing(self, role: int, why: str) -> None:
        """Note that a role has never been placed, so that it cannot answer yet."""
        self.lose(role, why)
        self.unplaced.add(role)

    def fall_silent(self, event: Silent) -> None:
        """Note that a role from which something may come gives no sign of life."""
        if self.pending[list(self.code.messages_of[event.role])].any():
            self.silent[event.role] = event

    def hear(self, role: int) -> None:
        """Note that a role gives a sign of life."""
        self.silent.pop(role, None)

    def restore(self, role: int, *, again: bool = True) -> None:
        """Note that a role can be asked for all that is missing of it."""
        self.lost.pop(role, None)
        self.errors.pop(role, None)
        self.unplaced.discard(role)
        (self.restored if again else self.placed).add(role)
        missing = [i for i in self.code.messages_of[role] if not self.arrived[i]]
        back = [index for index in missing if not self.pending[index]]
        self.pending[back] = True
        self.asked.get(role, set()).difference_update(back)
