"""What a round is told of sums that differ."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Expelled", "Undecided"]


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
class Undecided:
    """Two roles have sent different sums of the same rows, and it cannot be said who is wrong.

    Parameters
    ----------
    message : int
        Which sum, by its index in ``code.messages``.
    role, other : int
        Who has sent it.

    Examples
    --------
    >>> Undecided(message=0, role=0, other=1)
    Undecided(message=0, role=0, other=1)
    """

    message: int
    role: int
    other: int
