"""What the answers of a round carry: whether it can be right, and what it adds up to."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.codes.forest import above, below
from dask_gradcode.codes.summing import Sum
from dask_gradcode.inspection import Doubt
from dask_gradcode.rounds.events import Event
from dask_gradcode.rounds.minutes import Checks, Minutes
from dask_gradcode.rounds.outcomes import Contradicted
from dask_gradcode.rounds.state import State
from dask_gradcode.typing import Payload, Vector

__all__ = ["Answers", "Witness"]


class Witness(Protocol):
    """Says whether a message can be right."""

    def doubt(self, role: int, message: int, payload: Payload) -> Doubt | None:
        """Return why what a role sent cannot be right, or which role it contradicts."""
        ...


class Answers:
    """The payloads of a round, of which the ones that can be right are added.

    A message that is not finite although ``w`` is, is put aside and its worker counts as lost, as
    long as others can do without it. If they cannot, even with all that may return, it is believed.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    state : State
        The round's, which learns what has been added and which roles sent what cannot be right.
    witness : Witness
        Says what cannot be right.

    Attributes
    ----------
    doubts : list of Doubt
        What was sent and cannot be right.
    expelled : list of int
        The roles that were expelled in this round, as they sent a wrong sum.
    unverified : set of int
        The blocks with sums that were to be verified, and are not.
    contradiction : Contradicted or None
        How the round ends where something that was sent is wrong, and it cannot be told what.
    """

    def __init__(self, code: GradientCode, state: State, witness: Witness) -> None:
        self._code, self._state, self._witness = code, state, witness
        self._sum: Sum | None = code.sum()
        self._aside: dict[tuple[int, int], Payload] = {}  # not finite; by role and message
        self.doubts: list[Doubt] = []
        self.expelled: list[int] = []
        self.unverified: set[int] = set()
        self.contradiction: Contradicted | None = None

    def take_in(self, role: int, message: int, payload: Payload) -> None:
        """Add a message, or put it aside."""
        doubt = self.inspect(role, message, payload)
        if doubt is None or len(doubt.roles) > 1:  # of two that differ either may be right
            self._add(role, message, payload)
            return
        self._state.disbelieve(role, doubt.what)
        if doubt.fits:
            self._aside[role, message] = payload

    def begin(self) -> Minutes | Checks | None:
        """Return what is noted of the sums from now on, for a replay; None if nothing need be."""
        return None

    def inspect(self, role: int, message: int, payload: Payload) -> Doubt | None:
        """Say what cannot be right about a message, and remember it."""
        doubt = self._witness.doubt(role, message, payload)
        if doubt is not None:
            self.doubts.append(doubt)
        return doubt

    def note(self, event: Event) -> None:
        """Note digests, and what is found of roles, where sums are compared."""

    @property
    def given_up(self) -> Set[int]:
        """Roles that earlier rounds have waited for in vain, where sums are to be confirmed."""
        return frozenset()

    @property
    def dispute(self) -> object:
        """The roles that differ, where that is looked for."""
        return None

    def is_agreed(self) -> bool:
        """Say whether no return of a lost worker could do without the messages put aside."""
        if not self._aside:
            return False
        code, others = self._code, np.ones(len(self._code.messages), dtype=bool)
        said: dict[int, set[int]] = {}  # by message, the senders of it or a part or all of its sum
        for role, message in self._aside:
            for other in (*above(code, message), *below(code, message)):
                said.setdefault(other, set()).add(role)
        for message, roles in said.items():
            others[message] = not roles.issuperset(code.senders(message))
        return not code.can_decode(others)

    def accept(self) -> bool:
        """Take messages that were put aside for what they are; True if there are any."""
        if not self._aside:
            return False
        believed = {role for role, _ in self._aside}
        self.doubts = [doubt for doubt in self.doubts if not believed.issuperset(doubt.roles)]
        for role in believed:
            self._state.believe(role)
        for (role, message), payload in list(self._aside.items()):
            self._add(role, message, payload)
        return True

    def total(self, decoding: Decoding) -> Vector:
        """Return the sum by a decoding of what has been added.

        Raises
        ------
        RuntimeError
            If the messages have been let go.
        """
        if self._sum is None:
            raise RuntimeError("The messages have been let go.")
        return self._sum.total(decoding)

    def forget(self) -> None:
        """Let go of the messages; what comes late can still be inspected."""
        self._sum = None
        self._aside.clear()
        self._state.forget()

    def _add(self, role: int, message: int, payload: Payload) -> None:
        assert self._sum is not None
        self._aside.pop((role, message), None)
        if not self._state.arrived[message]:
            self._sum.add(message, payload)
        self._state.add(role, message)
