"""What a round is told of sums that differ."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Discovery", "Expelled", "Undecided"]


@dataclass(frozen=True)
class Expelled:
    """A role has sent a wrong sum, which has been shown: it plays no part in the rest of the fit.

    Parameters
    ----------
    role : int
        The code worker.
    why : str
        What was wrong.

    Examples
    --------
    >>> Expelled(role=1, why="what it computed of block 3 is wrong")
    Expelled(role=1, why='what it computed of block 3 is wrong')
    """

    role: int
    why: str


@dataclass(frozen=True)
class Discovery:
    """Something that an audit has found, maybe long after the rounds that it is about.

    Parameters
    ----------
    round : int
        The newest round by then.
    role : int or None
        Which role it is about, if it is about one.
    what : {"expelled", "taken back", "unverified"}
        A role has been expelled, rounds have been taken back, or nobody could compute again what
        was sent of some blocks for the last round.
    blocks : tuple of int
        The blocks of the role, or the unverified ones.
    rounds : tuple of int
        The rounds that were taken back. Of a role: the first round whose sum it has made wrong and,
        if that is another, the round whose check gave it away.
    seconds : float
        How long the rounds that were taken back had taken.

    Examples
    --------
    >>> Discovery(round=5, role=1, what="expelled", rounds=(2, 4))
    Discovery(round=5, role=1, what='expelled', blocks=(), rounds=(2, 4), seconds=0.0)
    """

    round: int
    role: int | None
    what: str
    blocks: tuple[int, ...] = ()
    rounds: tuple[int, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Undecided:
    """Two roles have sent different sums of the same rows; which is wrong cannot be said.

    Parameters
    ----------
    message : int
        Which sum, by its index in ``code.messages``.
    role, other : int
        The roles that have sent it.

    Examples
    --------
    >>> Undecided(message=0, role=0, other=1)
    Undecided(message=0, role=0, other=1)
    """

    message: int
    role: int
    other: int
