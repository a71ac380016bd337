"""What can happen in a round."""

from __future__ import annotations

from dataclasses import dataclass

from dask_gradcode.rounds.announced import Announced
from dask_gradcode.rounds.carried import Busy, Free, Slow, Stale
from dask_gradcode.rounds.verdicts import Expelled, Undecided
from dask_gradcode.typing import Payload

__all__ = [
    "Absent",
    "Announced",
    "Arrived",
    "Blocks",
    "Event",
    "Failed",
    "Heard",
    "Lost",
    "News",
    "Ready",
    "Relocated",
    "Silent",
    "Unplaced",
    "Yielded",
]


Blocks = tuple[int, ...] | None
"""Which of its blocks are in a message, where some are not; None: all."""


@dataclass(frozen=True, eq=False)
class Arrived:
    """A message arrived.

    Parameters
    ----------
    round : int
        The number of the round that it answers.
    role : int
        The code worker that sent it.
    message : int
        Its index in ``code.messages``.
    payload : ndarray of shape (n_entries,) or Part
        The worker's combination of its block values, then of its block gradients.
    blocks : tuple of int, optional
        Which of the message's blocks are in it, where others were lost on the way to the worker.
        None: all.

    Examples
    --------
    >>> import numpy as np
    >>> event = Arrived(round=0, role=1, message=1, payload=np.array([3.0, 0.5]))
    >>> event.payload
    array([3. , 0.5])
    """

    round: int
    role: int
    message: int
    payload: Payload
    blocks: Blocks = None


@dataclass(frozen=True)
class Absent:
    """A message was lost on its way; nobody need wait for it.

    Parameters
    ----------
    round : int
        The number of the round that it answers.
    role : int
        The code worker that sent it.
    message : int
        Its index in ``code.messages``.

    Examples
    --------
    >>> Absent(round=0, role=1, message=1)
    Absent(round=0, role=1, message=1)
    """

    round: int
    role: int
    message: int


@dataclass(frozen=True, eq=False)
class Failed:
    """Computing a message raised; it will not arrive in this round.

    Parameters
    ----------
    round : int
        The number of the round that it should have answered.
    role : int
        The code worker that should have sent it.
    message : int
        Its index in ``code.messages``.
    error : BaseException
        What was raised.

    Examples
    --------
    >>> Failed(round=0, role=1, message=1, error=ZeroDivisionError("division by zero")).error
    ZeroDivisionError('division by zero')
    """

    round: int
    role: int
    message: int
    error: BaseException


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with all it had not yet sent.

    Parameters
    ----------
    role : int
        The code worker that it was.
    why : str
        What is known of it, for the texts of errors.

    Examples
    --------
    >>> Lost(role=1, why="its process ended")
    Lost(role=1, why='its process ended')
    """

    role: int
    why: str


@dataclass(frozen=True)
class Unplaced:
    """A role has never been placed: its blocks are still on their way to a worker.

    Parameters
    ----------
    role : int
        The code worker.
    why : str
        What is known of it, for the texts of errors.

    Examples
    --------
    >>> Unplaced(role=1, why="it is being placed")
    Unplaced(role=1, why='it is being placed')
    """

    role: int
    why: str


@dataclass(frozen=True)
class Ready:
    """A role can answer: its blocks are on a worker that lives.

    Parameters
    ----------
    role : int
        The code worker.
    again : bool, default=True
        Whether it had been placed before and was lost.

    Examples
    --------
    >>> Ready(role=1)
    Ready(role=1, again=True)
    """

    role: int
    again: bool = True


@dataclass(frozen=True)
class Relocated:
    """A role is on another worker than in the round before, and has not been missed.

    Parameters
    ----------
    role : int
        The code worker.
    address : str
        Where it is now.

    Examples
    --------
    >>> Relocated(role=1, address="tcp://10.0.0.9:46521")
    Relocated(role=1, address='tcp://10.0.0.9:46521')
    """

    role: int
    address: str


@dataclass(frozen=True)
class Silent:
    """A worker that is waited for may never answer, and may wake: it is frozen, say.

    Parameters
    ----------
    role : int
        The code worker.
    why : str
        What is known of it, for the texts of errors.
    may_be_busy : bool, default=False
        Whether it may be silent because it computes: a user's function can keep Python's lock, and
        so the heartbeats, for as long as it takes.

    Examples
    --------
    >>> Silent(role=1, why="it has sent no heartbeat for 6 s")
    Silent(role=1, why='it has sent no heartbeat for 6 s', may_be_busy=False)
    """

    role: int
    why: str
    may_be_busy: bool = False


@dataclass(frozen=True)
class Heard:
    """A worker that was silent gives a sign of life again.

    Parameters
    ----------
    role : int
        The code worker.

    Examples
    --------
    >>> Heard(role=1)
    Heard(role=1)
    """

    role: int


@dataclass(frozen=True)
class Yielded:
    """A role has sent all that it had finished, and computes no more than one message.

    Parameters
    ----------
    round : int
        The number of the round that it was asked in.
    role : int
        The code worker.
    running : int or None
        The message that it is computing, a leaf, and will send unless it is dropped; None if it has
        nothing to do.

    Examples
    --------
    >>> Yielded(round=0, role=1, running=18)
    Yielded(round=0, role=1, running=18)
    """

    round: int
    role: int
    running: int | None


News = Lost | Unplaced | Ready | Relocated
"""What may have changed when a round begins."""

Event = (
    Arrived
    | Announced
    | Absent
    | Yielded
    | Failed
    | News
    | Silent
    | Heard
    | Busy
    | Free
    | Slow
    | Stale
    | Expelled
    | Undecided
)
"""What can happen in a round."""
