"""Which workers to believe where some may send wrong sums: by silent corruption, or as lies.

``b + 1`` equal answers cannot all come from faulty workers if at most ``b`` workers of each block
are faulty. So a sum is believed once ``b + 1`` agree. Two that differ are heard
(:mod:`dask_gradcode.rounds.hearing`), and the one that is wrong is expelled for the rest of the
fit. For each sender of a sum that is expelled, one fewer has to agree on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple, Protocol

from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition, GradientCode
from dask_gradcode.rounds.events import Event, Lost
from dask_gradcode.rounds.hearing import Inquiry, Verdict, hear
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.standing import Standing
from dask_gradcode.rounds.verdicts import Expelled, Undecided
from dask_gradcode.typing import Matrix, Part, Payload, Vector

__all__ = ["Court", "Dispute", "Hearing", "Referee", "check_verify", "values_of"]

logger = logging.getLogger("dask_gradcode")


_OTHER_WAYS: Mapping[type[GradientCode], str] = {
    CyclicRepetition: "'syndrome' is for cyclic codes",
    DeclusteredRepetition: "'audit' is for declustered ones",
}
"""How sums of codes are verified of which nobody sends what another sends."""


class Dispute(NamedTuple):
    """Two roles that sent different sums of the same rows, or one that contradicts itself.

    Parameters
    ----------
    message : int
        Which sum, by its index in ``code.messages``.
    roles : tuple of int
        The senders; twice the same role if it had told another digest of what it sent.
    claims : tuple of bytes
        The digests of what each has sent.
    """

    message: int
    roles: tuple[int, int]
    claims: tuple[bytes, bytes]


class Hearing(NamedTuple):
    """A dispute, and what was found.

    Parameters
    ----------
    round : int
        The round of the two answers.
    dispute : Dispute
        Which roles differ in what.
    verdict : Verdict
        Which role is wrong, and what it took to find out.
    """

    round: int
    dispute: Dispute
    verdict: Verdict


class Court(Protocol):
    """Knows which roles to ask, and where."""

    def begin(self, round: int, w: Vector | Matrix, order: int) -> None:
        """Note at which point a round is."""
        ...

    def inquire(self, round: int, message: int) -> Inquiry:
        """Return how to ask about a message of a round."""
        ...

    def round_alike(self, one: int, other: int) -> bool:
        """Say whether two roles compute the same bits."""
        ...

    def where(self, role: int) -> str:
        """Say in a few words which worker plays a role."""
        ...


class _Answers(Protocol):
    @property
    def dispute(self) -> object: ...


class _Round(Protocol):
    """What a referee needs of a round."""

    number: int

    @property
    def answers(self) -> _Answers:
        """What has come."""
        ...

    def handle(self, event: Event | None, now: float) -> list[Order]:
        """Take note of an event."""
        ...


def values_of(payload: Payload) -> Vector:
    """Return the entries that were sent."""
    return payload.values if isinstance(payload, Part) else payload


def check_verify(code: GradientCode, verify: Any) -> int:
    """Return how many faulty workers are to be found; raise for what a code cannot carry.

    Raises
    ------
    ValueError
        If it is no whole number from 0, or fewer than ``verify + 1`` workers hold the blocks of a
        message, or messages are computed from others or sent in slices.

    Examples
    --------
    >>> from dask_gradcode.codes import CyclicRepetition, FractionalRepetition
    >>> check_verify(FractionalRepetition(4, 1), 1)
    1
    >>> check_verify(CyclicRepetition(4, 1), 1)
    Traceback (most recent call last):
    ValueError: verify=1 needs 2 workers that can send each message, so that they can be compared; \
of CyclicRepetition(n_workers=4, n_stragglers=1, seed=0) some messages have 1.
    Use code='fractional' with n_stragglers=1 or more, or verify=0; verify='syndrome' is for \
cyclic codes.
    """
    is_number = isinstance(verify, Integral) and not isinstance(verify, bool)
    if not is_number or verify < 0:
        raise ValueError(
            "verify must be a whole number from 0, of faulty workers, 'audit' or 'syndrome', got "
            f"{verify!r}."
        )
    if verify == 0:
        return 0
    way_out = f"Use code='fractional' with n_stragglers={verify} or more, or verify=0"
    for kind, what in _OTHER_WAYS.items():
        way_out += f"; verify={what}" if isinstance(code, kind) else ""
    way_out += "."
    if code.divides or code.resolution > 1:
        raise ValueError(
            f"verify={verify} needs messages that several workers compute in full; those of "
            f"{code!r} are shared out in parts.\n{way_out}"
        )
    fewest = min(len(code.senders(message)) for message in range(len(code.messages)))
    if fewest <= verify:
        raise ValueError(
            f"verify={verify} needs {verify + 1} workers that can send each message, so that they "
            f"can be compared; of {code!r} some messages have {fewest}.\n{way_out}"
        )
    return int(verify)


class Referee(Standing):
    """Knows for a fit which roles are expelled, and hears the ones that differ.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    n_faulty : int
        How many workers to each block may be faulty, ``b``.
    court : Court
        Asks roles.

    Attributes
    ----------
    hearings : list of Hearing
        All of them, in order.
    """

    def __init__(
        self,
        code: GradientCode,
        n_faulty: int,
        court: Court,
    ) -> None:
        super().__init__()
        self._code, self.n_faulty, self._court = code, check_verify(code, n_faulty), court
        self.hearings: list[Hearing] = []

    @property
    def compares(self) -> bool:
        """Whether a sum needs the answers of several."""
        return self.n_faulty > 0

    def needed(self, message: int) -> int:
        """Return how many have to agree on a message."""
        expelled = self.expelled.keys() & set(self._code.senders(message))
        return max(1, self.n_faulty + 1 - len(expelled))

    def round_alike(self, one: int, other: int) -> bool:
        """Say whether two roles compute the same bits."""
        return self._court.round_alike(one, other)

    def ways(self) -> tuple[int, ...]:
        """Return for each role the first that rounds as it does: of these all bits are equal."""
        firsts: list[int] = []
        ways = []
        for role in range(self._code.n_workers):
            way = next((first for first in firsts if self.round_alike(first, role)), role)
            ways.append(way)
            firsts += [role] if way == role else []
        return tuple(ways)

    def begin(
        self, round: int, w: Vector | Matrix, order: int, news: Sequence[Event]
    ) -> list[Event]:
        """Begin a round, and return what has become of roles: an expelled one is lost."""
        self._court.begin(round, w, order)
        return super().begin(round, w, order, news)

    def settle(self, told: _Round, current: _Round, now: Callable[[], float]) -> list[Order]:
        """Hear all that differ in a round; tell that round and the current one what is found.

        Parameters
        ----------
        told, current : Round
            They are the same, but for answers that come late.
        now : callable
            The clock: a hearing takes time.
        """
        orders: list[Order] = []
        while isinstance(dispute := told.answers.dispute, Dispute):
            for event in self._heard(told.number, dispute):
                orders += told.handle(event, now())
                if current is not told and isinstance(event, Expelled):
                    orders += current.handle(event, now())
        return orders

    def _verdict(self, round: int, dispute: Dispute) -> Verdict:
        one, other = dispute.roles
        if one == other:
            return Verdict({one: "what it sent is not what it had told the digest of"})
        claims = dict(zip(dispute.roles, dispute.claims, strict=True))
        return hear(self._court.inquire(round, dispute.message), claims)

    def _heard(self, round: int, dispute: Dispute) -> list[Event]:
        """Hear two that differ; return which are expelled or absent, or that it is undecided."""
        return self.enter(round, dispute, self._verdict(round, dispute))

    def enter(self, round: int, dispute: Dispute, verdict: Verdict) -> list[Event]:
        """Act on a verdict; return which are expelled or absent, or that it is undecided.

        Parameters
        ----------
        round : int
            The round of the two answers.
        dispute : Dispute
            The roles that differed.
        verdict : Verdict
            What was found.
        """
        self.hearings.append(Hearing(round, dispute, verdict))
        blocks = list(self._code.messages[dispute.message].blocks)
        for role, what in verdict.wrong.items():
            told = self._court.where(role), what, verdict.n_chunks, verdict.n_bytes
            logger.warning(
                "Round %d, blocks %s: %s is expelled: %s. Here %d chunk(s) of rows were computed; "
                "%d bytes have travelled for it.",
                *(round, blocks, *told),
            )
        if verdict.wrong:
            since = f"it is expelled since round {round}"
            return [Expelled(role, f"{since}: {what}") for role, what in verdict.wrong.items()]
        if verdict.absent:
            return [Lost(i, f"it does not account: {why}") for i, why in verdict.absent.items()]
        logger.warning(
            "Round %d, blocks %s: %s sent different sums, and it cannot be said who is wrong.",
            *(round, blocks, " and ".join(map(self._court.where, dispute.roles))),
        )
        return [Undecided(dispute.message, *dispute.roles)]
