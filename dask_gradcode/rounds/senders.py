"""Which roles may still send which message, in a round."""

from __future__ import annotations

from collections.abc import Iterable, Set

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.typing import Mask

__all__ = ["Senders"]

_NOBODY: frozenset[int] = frozenset()  # one for all messages


class Senders:
    """Keeps which roles may still send a message, where not all holders of its blocks may.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.

    Attributes
    ----------
    pending : ndarray of bool, shape (n_messages,)
        Which messages may still come and are wanted.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> senders = Senders(FractionalRepetition(2, 1))
    >>> senders.withdraw(0, message=0)
    >>> senders.of(0), senders.pending
    ({1}, array([ True]))
    >>> senders.withdraw(1, message=0)
    >>> senders.of(0), senders.pending
    (frozenset(), array([False]))
    """

    def __init__(self, code: GradientCode) -> None:
        self._code = code
        self._able: dict[int, Set[int]] = {}
        self.pending: Mask = np.ones(len(code.messages), dtype=bool)

    @property
    def are_all(self) -> bool:
        """Whether everybody may still send whatever it holds the blocks of."""
        return not self._able

    def of(self, message: int) -> Iterable[int]:
        """Return the roles that may still send a message, or have."""
        able = self._able.get(message)
        return self._code.senders(message) if able is None else able

    def may_send(self, role: int, message: int) -> bool:
        """Say whether a message may come, and from a role."""
        return bool(self.pending[message]) and role in self.of(message)

    def withdraw(self, role: int, message: int) -> None:
        """Note that a role will send a message no more."""
        self._allow(message, {other for other in self.of(message) if other != role})

    def restore(self, role: int, messages: Iterable[int]) -> None:
        """Note that a role may send messages again that are still wanted."""
        for message in messages:
            if message in self._able:
                self._able[message] |= {role}
                self.pending[message] = True

    def replace(self, message: int, others: Set[int], roles: Iterable[int]) -> None:
        """Note that of these others only some roles may still send a message."""
        self._allow(message, set(self.of(message)) - others | set(roles))
        self.pending[message] = bool(self._able[message])

    def forget(self) -> None:
        """Note that it is of no interest any more which role may send what."""
        self._able.clear()

    def _allow(self, message: int, able: set[int]) -> None:
        self._able[message] = able or _NOBODY
        if not able:
            self.pending[message] = False
