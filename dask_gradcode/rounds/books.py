"""What each worker has sent in an audited fit, in a few numbers, and what of it was checked.

Of each answer there is a digest, and its norm and its product with a vector that nobody but the
client knows: by the digest equal bits are known, by the others what is equal within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from dask_gradcode.inspection import Doubt
from dask_gradcode.rounds.trust import Witness
from dask_gradcode.typing import Part, Payload, Vector
from dask_gradcode.work.account import digest_of
from dask_gradcode.work.judging import ROUNDING

__all__ = ["Books", "Claim", "Contradiction", "Sent"]

Sent = tuple[int, int]
"""A role and a message."""


class Claim(NamedTuple):
    """What is kept of an answer.

    Parameters
    ----------
    digest : bytes
        Of its bits.
    norm, mark : float
        Its norm, and its product with a secret vector.
    sender : str
        The address of the worker that sent it.
    """

    digest: bytes
    norm: float
    mark: float
    sender: str

    def agrees(self, other: Claim, *, bitwise: bool) -> bool:
        """Say whether two answers are the same, bit for bit or within rounding.

        Parameters
        ----------
        other : Claim
            The other.
        bitwise : bool
            Whether both round alike.
        """
        if self.digest == other.digest:
            return True
        bound = ROUNDING * max(self.norm, other.norm)
        apart = max(abs(self.norm - other.norm), abs(self.mark - other.mark))
        return not bitwise and bool(apart <= bound)  # NaN: they differ


class Contradiction(NamedTuple):
    """Two roles have sent different sums of the same rows, in a round."""

    round: int
    message: int
    roles: tuple[int, int]


@dataclass
class _Page:
    """One round."""

    claims: dict[int, dict[int, Claim]] = field(default_factory=dict)  # by message and role
    used: set[Sent] = field(default_factory=set)
    clean: set[Sent] = field(default_factory=set)


class Books:
    """What was sent in all rounds of a fit, which of it was used, and which was found right.

    Where two roles have sent the same message alike, both are right, as one of them is honest: that
    audit costs nothing.

    Parameters
    ----------
    seed : int or sequence of int
        Of the secret vector.
    bitwise : callable
        ``bitwise(role, other)`` says whether two roles compute the same bits.
    where : callable
        ``where(role)`` returns the address of the worker that plays a role.

    Attributes
    ----------
    contradictions : list of Contradiction
        Of sums that several have sent. The reader of the list clears it.

    Examples
    --------
    Roles 0 and 1 have sent the same sum, and role 2 another one, of other rows:

    >>> books = Books(0, lambda one, other: True, "worker-{}".format)
    >>> for role, message, value in [(0, 0, 3.0), (1, 0, 3.0), (2, 1, 5.0)]:
    ...     books.note(0, role, message, np.array([value]))
    >>> books.use(0, [(1, 0), (2, 1)])
    >>> books.unchecked(0)
    [(2, 1)]
    """

    def __init__(
        self,
        seed: int | Sequence[int],
        bitwise: Callable[[int, int], bool],
        where: Callable[[int], str],
    ) -> None:
        self._seed, self._bitwise, self._where = seed, bitwise, where
        self._pages: dict[int, _Page] = {}
        self._probe: Vector = np.zeros(0)
        self.contradictions: list[Contradiction] = []

    def claim(self, payload: Payload, sender: str) -> Claim:
        """Return what is kept of a payload."""
        values = payload.values if isinstance(payload, Part) else payload
        if self._probe.size < payload.size:
            self._probe = np.random.default_rng(self._seed).standard_normal(payload.size)
        probe = self._probe[: payload.size]
        if isinstance(payload, Part) and payload.entries is not None:
            probe = probe[payload.entries]
        with np.errstate(over="ignore", invalid="ignore"):
            norm, mark = float(np.linalg.norm(values)), float(probe @ values)
        return Claim(digest_of(values), norm, mark, sender)

    def note(self, round: int, role: int, message: int, payload: Payload) -> None:
        """Note what a role has sent, in a round that may be over."""
        page = self._pages.setdefault(round, _Page())
        said_before = page.claims.setdefault(message, {})
        claim = self.claim(payload, self._where(role))
        for other, said in said_before.items():
            if other == role:
                continue
            if claim.agrees(said, bitwise=self._bitwise(role, other)):
                page.clean |= {(role, message), (other, message)}
            else:
                self.contradictions.append(Contradiction(round, message, (other, role)))
        said_before[role] = claim

    def witness(self, round: int, witness: Witness) -> Witness:
        """Return a witness of a round that notes what it is shown."""
        return _Clerk(self, round, witness)

    def use(self, round: int, answers: Collection[Sent]) -> None:
        """Note of which answers a round has made its sum."""
        self._pages.setdefault(round, _Page()).used.update(answers)

    def clear(self, round: int, role: int, message: int) -> None:
        """Note that an answer was computed again, and is right."""
        self._pages[round].clean.add((role, message))

    def used(self, round: int) -> list[Sent]:
        """Return of which answers a round has made its sum."""
        return sorted(self._pages[round].used) if round in self._pages else []

    def claimed(self, round: int, role: int, message: int) -> Claim:
        """Return what a role has sent."""
        return self._pages[round].claims[message][role]

    def unchecked(self, round: int, role: int | None = None) -> list[Sent]:
        """Return what a round has used and nobody has checked; of all roles, or of one."""
        page = self._pages.get(round, _Page())
        left = sorted(page.used - page.clean)
        return left if role is None else [sent for sent in left if sent[0] == role]

    def rounds(self) -> Iterator[int]:
        """Yield the rounds that have used anything, from the first."""
        return (number for number, page in sorted(self._pages.items()) if page.used)

    def forget(self, first: int) -> None:
        """Forget what was used from a round on, as that is taken back."""
        for number, page in self._pages.items():
            if number >= first:
                page.used.clear()


class _Clerk:
    """Notes what it is shown, and doubts its form only: its content the audit decides."""

    def __init__(self, books: Books, round: int, witness: Witness) -> None:
        self._books, self._round, self._witness = books, round, witness

    def doubt(self, role: int, message: int, payload: Payload) -> Doubt | None:
        doubt = self._witness.doubt(role, message, payload)
        if doubt is None or doubt.fits:
            self._books.note(self._round, role, message, payload)
        return doubt if doubt is not None and len(doubt.roles) == 1 else None
