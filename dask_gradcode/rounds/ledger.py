"""What each role has been asked for, what it has answered, and so what it owes."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

from dask_gradcode.rounds.orders import Announce, Ask, Drop, Order, Yield

__all__ = ["Kept", "Ledger"]


class Kept(NamedTuple):
    """Which roles keep a message of which only the digest has come.

    Parameters
    ----------
    roles : tuple of int
        Which roles can be asked for it.
    is_wanted : bool
        Whether only the payload is missing: enough agree on it.
    """

    roles: tuple[int, ...]
    is_wanted: bool


class Ledger:
    """Keeps of each role which messages it has been asked for and which it has sent.

    Attributes
    ----------
    asked : dict of int to set of int
        What each role has been asked for and may still answer, or has answered.
    asked_at : dict of int to float
        When each role was asked last, in seconds on the caller's clock.
    hurried : set of int
        Roles that have been told to yield.
    announced : set of tuple of int
        Roles with messages of which they have told the digest: an answer, after which they may be
        asked for the message itself.

    Examples
    --------
    Role 3 is asked for three messages and sends one; told to yield, it goes on with another:

    >>> ledger = Ledger()
    >>> ledger.ask(3, (5, 6, 7), now=0.0)
    >>> ledger.answer(3, 5)
    >>> ledger.tell(3)
    >>> ledger.owed(3), ledger.yielding
    ({6, 7}, {3})
    >>> ledger.cut(3, running=6)
    >>> ledger.owed(3), ledger.yielding
    ({6}, set())
    """

    def __init__(self) -> None:
        self.asked: dict[int, set[int]] = {}
        self.asked_at: dict[int, float] = {}
        self.hurried: set[int] = set()
        self.announced: set[tuple[int, int]] = set()
        self._answered: set[tuple[int, int]] = set()  # roles with messages
        self._told: dict[int, deque[set[int]]] = {}  # what it owed when it was told to yield

    def owed(self, role: int) -> set[int]:
        """Return what a role has been asked for and has not answered."""
        return self._unanswered(role, self.asked.get(role, ()))

    def _unanswered(self, role: int, messages: Iterable[int]) -> set[int]:
        return {message for message in messages if (role, message) not in self._answered}

    def has_answered(self, role: int, message: int) -> bool:
        """Say whether a role has sent a message, which would then be a second copy."""
        return (role, message) in self._answered

    @property
    def yielding(self) -> set[int]:
        """The roles that have been told to yield and have not answered that."""
        return {role for role, told in self._told.items() if told}

    def noted(self, orders: list[Order], now: float) -> list[Order]:
        """Note orders that are given, and return them."""
        for order in orders:
            match order:
                case Ask(role, messages) | Announce(role, messages):
                    self.ask(role, messages, now)
                case Yield(role):
                    self.tell(role)
                case Drop(role, messages):
                    self.drop(role, messages)
        return orders

    def ask(self, role: int, messages: Iterable[int], now: float) -> None:
        """Note that a role is asked for messages."""
        self.asked.setdefault(role, set()).update(messages)
        self.asked_at[role] = now
        if self.announced:
            self._answered -= self.announced & {(role, message) for message in messages}

    def answer(self, role: int, message: int) -> None:
        """Note that a role has sent a message."""
        self._answered.add((role, message))

    def announce(self, role: int, message: int) -> None:
        """Note that a role has told the digest of a message."""
        self.answer(role, message)
        self.announced.add((role, message))

    def tell(self, role: int) -> None:
        """Note that a role has been told to yield: what it is asked for later, it does not."""
        self.hurried.add(role)
        self._told.setdefault(role, deque()).append(self.owed(role))

    def cut(self, role: int, running: int | None) -> None:
        """Note that a role has given up what it was told to, but what it is computing."""
        told = self._told.get(role)
        if told:
            self.drop(role, told.popleft())
            self.asked.setdefault(role, set()).update(() if running is None else (running,))

    def drop(self, role: int, messages: Iterable[int]) -> None:
        """Note that nothing more is wanted of what a role owes of some messages."""
        if role in self.asked:
            self.asked[role] -= self._unanswered(role, messages)

    def lose(self, role: int) -> None:
        """Note that a role will answer nothing more of what it was asked for."""
        self.asked.pop(role, None)
        self._told.pop(role, None)

    def renew(self, role: int, messages: Collection[int]) -> None:
        """Note that a role may be asked for messages again, whatever was before."""
        self.asked.get(role, set()).difference_update(messages)
        for noted in (self._answered, self.announced):
            noted.difference_update([(role, message) for message in messages])
